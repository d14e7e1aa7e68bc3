"""What a command does, without a terminal: shared by the command line and the Python API."""
