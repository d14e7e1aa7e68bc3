"""The built-in image `host`: the machine's own file system, copy-on-write."""

NAME = "host"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
