"""Errors of images."""

from pycompose.errors import Place
from pycompose.runtime.errors import RuntimeFailure


class ImageError(RuntimeFailure):
    """An image, archive or name that cannot be used; `hint` says what to try."""

    def __init__(self, message: str, hint: str = "", *, place: Place | None = None) -> None:
        super().__init__(message, hint=hint, place=place)


class ImageNotFound(ImageError):
    def __init__(self, name: str) -> None:
        super().__init__(
            f'image "{name}" is not on this machine',
            "pycompose image pull fetches it, pycompose image load ARCHIVE takes it in; image: host needs none",
        )
        self.name = name


class ImageInUse(ImageError):
    def __init__(self, name: str, containers: tuple[str, ...]) -> None:
        super().__init__(
            f'image "{name}" is used by {", ".join(containers)}', "remove the containers first: pycompose down"
        )
        self.name, self.containers = name, containers
