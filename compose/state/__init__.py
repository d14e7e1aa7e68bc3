"""What exists on this machine for a project, read from records alone."""
