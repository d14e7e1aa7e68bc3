"""This machine as a Host, over the runtime and network folders."""
