"""System calls and kernel interfaces, each a short function. The only importer of ctypes."""
