"""Errors of images."""

from pycompose import shortages
from pycompose.errors import Place
from pycompose.runtime.errors import RuntimeFailure


class ImageError(RuntimeFailure):
    """An image, archive or name that cannot be used; `hint` says what to try."""

    def __init__(self, message: str, hint: str = "", *, place: Place | None = None) -> None:
        super().__init__(message, hint=hint, place=place)


def not_done(what: str, error: BaseException) -> ImageError:
    """The error for what the system refused while an image was read or kept: `what` says what cannot be done.

    A full disk is said as such, for what fills it is often the image itself.
    """
    short = shortages.number(error)
    if short in shortages.FULL:
        return ImageError("the disk is full", "nothing was kept; make room and try again")
    return ImageError(f"{what}: {shortages.reason(error)}", shortages.hint(short))


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
