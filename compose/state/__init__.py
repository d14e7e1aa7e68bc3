"""Records of a project on disk: what exists, and what its last `up` was."""
