"""Images: the store, names, layers and archives. Front door: `Store`, `Image`, and the errors."""

from .errors import ImageError, ImageInUse, ImageNotFound
from .store import Image, Store

__all__ = ["Image", "ImageError", "ImageInUse", "ImageNotFound", "Store"]
