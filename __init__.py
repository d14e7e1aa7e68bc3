"""pycompose runs a compose file on one Linux host without Docker. The parts are imported when they are asked for."""

__version__ = "0.1.0"
