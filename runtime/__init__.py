"""The container runtime: runs OCI bundles on this machine."""
