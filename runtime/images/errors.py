"""What can go wrong with an image."""

from pycompose.runtime.errors import RuntimeFailure


class ImageError(RuntimeFailure):
    """An image, archive or name that cannot be used."""


class ImageNotFound(ImageError):
    def __init__(self, name: str) -> None:
        super().__init__(f'no image "{name}" here')
        self.name = name
