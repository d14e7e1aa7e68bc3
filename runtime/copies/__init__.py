"""Copies of files into containers and out of them: roots, what is read, what is written, and which name it gets."""
