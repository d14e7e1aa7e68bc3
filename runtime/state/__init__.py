"""Records of containers, logs, volumes and the use of images on disk."""
