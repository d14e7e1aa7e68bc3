"""Images: the store, names, layers and archives. Front door: `Store`, `Image`, `ImageError`, `ImageNotFound`."""

from .errors import ImageError, ImageNotFound
from .store import Image, Store

__all__ = ["Image", "ImageError", "ImageNotFound", "Store"]
