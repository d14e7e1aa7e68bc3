"""The application layer: operations that the command line and the Python API share, without a terminal."""
