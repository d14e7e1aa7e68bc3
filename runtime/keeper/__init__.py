"""The keeper: the process that is the parent of a project's containers."""
