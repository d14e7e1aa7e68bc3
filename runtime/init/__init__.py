"""Processes inside a container, from birth to execve."""
