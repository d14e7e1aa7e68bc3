"""Transformations of a project into another model (`bridge`): images that read /in/compose.yaml and write into /out.

Each runs as a one-off container of a project of its own, as the caller's user, and is gone afterwards.
Rules: the model is the canonical file with what is outside of it filled in: the contents of secrets and configs, and
the ports that images expose. Nothing is removed unless `agree` says so.
Source: docker compose, pkg/bridge.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

from . import images
from .choices import Choices
from .phases import OperationWarning, silent

if TYPE_CHECKING:
    from pycompose.compose.file.loader import Loaded
    from pycompose.runtime.images.store import Image

    from .phases import Tell

LABEL = "com.docker.compose.bridge"
DEFAULT = "docker/compose-bridge-kubernetes"
DOCKERFILE = """\
FROM docker/compose-bridge-transformer
LABEL com.docker.compose.bridge=transformation
COPY templates /templates
"""
Agree = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Conversion:
    """`templates` is a folder that is mounted at /templates, or empty."""

    output: str = "out"
    templates: str = ""
    transformations: tuple[str, ...] = ()


def convert(choices: Choices, loaded: Loaded, options: Conversion, agree: Agree, tell: Tell = silent) -> int:
    """Run the transformations one by one; the exit code of the first that fails, or 0. Raises PycomposeError."""
    names = options.transformations or (DEFAULT,)
    if options.templates and not os.path.isdir(options.templates):
        raise PycomposeError(f"templates folder {options.templates} is not there")
    if choices.dry_run:
        return 0
    text = _model(loaded, tell)
    _there(names, tell)
    output = os.path.abspath(options.output)
    _make_empty(output, agree)
    with tempfile.TemporaryDirectory(prefix="pycompose-bridge-") as folder:
        os.mkdir(f"{folder}/in", 0o755)
        with open(f"{folder}/in/compose.yaml", "w", encoding="utf-8") as file:
            file.write(text)
        templates = os.path.abspath(options.templates) if options.templates else ""
        for name in names:
            if code := _transform(folder, name, output, templates, tell):
                return code
    return 0


def _make_empty(folder: str, agree: Agree) -> None:
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        entries = []
    except NotADirectoryError as error:
        raise PycomposeError(f"output {folder} is not a directory") from error
    if entries:
        question = f"Output directory '{folder}' is not empty, all its content will be permanently deleted. Continue?"
        if not agree(question):
            raise PycomposeError(f"deletion of output directory '{folder}' was not confirmed")
        _remove(folder)
    os.makedirs(folder, 0o755, exist_ok=True)


def _remove(folder: str) -> None:
    from pycompose.runtime.files.remove import discard

    discard(folder)


def _there(names: Sequence[str], tell: Tell) -> None:
    """Fetches the images that are not on this machine. Raises FetchFailed."""
    from .image_operations import FetchFailed, fetch

    due = [images.Fetch(name, ()) for name in dict.fromkeys(names) if not images.digest_here(name)]
    if failures := fetch(due, tell):
        raise FetchFailed(failures)


def _model(loaded: Loaded, tell: Tell) -> str:
    from pycompose.compose.file import show
    from pycompose.compose.file.canonical import project_tree

    project = loaded.project
    tree = project_tree(project)
    wanted = {name: service.image or project.own_image(name) for name, service in project.services.items()}
    fetched = [image for name, image in wanted.items() if project.services[name].build is None and image != "host"]
    _there(fetched, tell)
    for name, service in tree["services"].items():
        service["image"] = wanted[name]
        ports = {str(port).partition("/")[0] for port in service.get("expose", ())}
        ports |= {str(port["target"]) for port in service.get("ports", ())}
        exposed = _exposed(wanted[name])
        if exposed is None:
            tell(
                OperationWarning(
                    f"image {wanted[name]} for service {name} not found locally: the ports that its Dockerfile exposes "
                    "are not included; `pycompose build` first includes them"
                )
            )
        if ports := ports | (exposed or set()):
            service["expose"] = sorted(ports, key=lambda port: (len(port), port))
    for kind in ("secrets", "configs"):
        for key, entry in (tree.get(kind) or {}).items():
            if (content := _content(getattr(project, kind)[key])) is not None:
                entry["content"] = content
    return show.to_yaml(show.used(tree), escape=False)


def _exposed(image: str) -> set[str] | None:
    """The numbers of the ports that an image exposes; None where it is not on this machine."""
    import json

    from .image_store import ask_store

    if image == "host":
        return set()
    if not (digest := images.digest_here(image)):
        return None
    config = json.loads(ask_store().config(digest)).get("config") or {}
    return {port.partition("/")[0] for port in config.get("ExposedPorts") or ()}


def _content(source: Any) -> str | None:
    if source.external or source.content is not None or not source.file:
        return None if source.external else source.content
    try:
        with open(source.file, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError as error:
        raise PycomposeError(f"{source.file} cannot be read: {error.strerror}") from error


def _transform(folder: str, image: str, output: str, templates: str, tell: Tell) -> int:
    from pycompose.compose.file import emitter
    from pycompose.compose.plan.commands import DownOptions

    from . import one_off, operations

    binds = {"/in": f"{folder}/in", "/out": output, **({"/templates": templates} if templates else {})}
    service = {
        "image": image,
        "user": str(os.getuid()),
        "environment": {"LICENSE_AGREEMENT": "true"},
        "volumes": [{"type": "bind", "source": path, "target": target} for target, path in binds.items()],
    }
    path = f"{folder}/transformation.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(emitter.to_yaml({"services": {"transformation": service}}).replace("$", "$$"))
    choices = Choices(files=(path,), project_name=f"bridge-{os.urandom(4).hex()}")
    options = one_off.RunOptions("transformation", auto_remove=True, interactive=False)
    try:
        _, container = one_off.start(choices, options, tell=_warnings(tell))
        return container.copy(lambda typed: (typed, False)) or 0
    finally:
        operations.down(choices, DownOptions(), tell=silent)


def _warnings(tell: Tell) -> Tell:
    """What is wrong is told; the steps of a container that nobody asked for are not."""
    return lambda event: tell(event) if isinstance(event, OperationWarning) else None


def transformers() -> list[Image]:
    """The images of this machine that are labelled as transformations."""
    import json

    from .image_store import ask_store

    store = ask_store()

    def labels(image: Image) -> dict[str, str]:
        config = {} if image.is_host else json.loads(store.config(image.digest)).get("config") or {}
        return config.get("Labels") or {}

    return [image for image in store.ls() if labels(image).get(LABEL) == "transformation"]


def create(path: str, source: str, tell: Tell = silent) -> str:
    """A folder with the templates of an image and a Dockerfile for one's own; its path. Raises PycomposeError."""
    from .image_store import ask_store, translated_errors

    folder = os.path.abspath(path)
    if os.path.lexists(folder):
        raise PycomposeError(f"output folder {folder} already exists")
    _there([source or DEFAULT], tell)
    with translated_errors():
        layers = ask_store().resolve(source or DEFAULT).layers
        os.makedirs(f"{folder}/templates")
        if not _copy_templates(layers, f"{folder}/templates", tell):
            _remove(folder)
            raise PycomposeError(f"image {source or DEFAULT} has no folder /templates: it is no transformation")
        with open(f"{folder}/Dockerfile", "w", encoding="ascii") as file:
            file.write(DOCKERFILE)
    return folder


def _copy_templates(layers: Sequence[str], target: str, tell: Tell) -> bool:
    """The image's templates as the caller's files, without devices and set-id bits; whether it has any."""
    from pycompose.runtime.copies.container_files import CopyManner, copy_out
    from pycompose.runtime.files import union

    beside = tempfile.mkdtemp(prefix="pycompose-bridge-")  # which nobody else may enter
    try:
        if not union.copy_out(layers, "/templates", beside):
            return False
        root = os.open(beside, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            copy_out(
                root, "/templates", "/.", target, CopyManner(passed_over=lambda text: tell(OperationWarning(text)))
            )
        finally:
            os.close(root)
        return True
    finally:
        _remove(beside)
