"""Publication of a project's files in a registry, as docker compose's artifact, and what is asked before.

Rules: nothing leaves the machine before every question is answered. What is published is the files as they are
written; values of variables are not in it.
Source: docker compose, `publish`; its media types and annotations are matched by whoever reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

from . import phases, sensitive
from .choices import Choices
from .compose_artifact import ARTIFACT, ENV_FILE, FILE, NOTE, OLD_CONFIG
from .phases import silent

if TYPE_CHECKING:
    from pycompose.compose.file.published import PublishedProject
    from pycompose.compose.model.project import Project
    from pycompose.runtime.images.registry.artifact import ArtifactPart

    from .phases import Tell

LARGEST = 1 << 20  # bytes of a file that secrets are looked for in
CANCELED = 130


@dataclass(frozen=True, slots=True)
class PublishOptions:
    resolve_image_digests: bool = False
    with_env: bool = False
    oci_version: str = ""
    insecure: bool = False
    with_images: bool = False
    version: str = ""  # of the compose that publishes, as readers compare it


def publish(
    choices: Choices, repository: str, options: PublishOptions, confirm: Callable[[str], bool], tell: Tell = silent
) -> str:
    """Publish the project's files as `REPOSITORY[:TAG]`; the digest, "" in a dry run. Raises PycomposeError, FileError.

    `confirm` is asked about all that may be a secret.
    """
    from pycompose.compose.file.published import publication
    from pycompose.runtime.images.reference import parse

    from . import image_operations, locate

    if parse(repository).digest:
        raise PycomposeError(f"a digest cannot be published to: {repository}", hint="name a tag")
    everything = replace(choices, profiles=("*",))
    loaded = locate.load(everything)
    project = loaded.project
    if "-" in project.config_files:
        raise PycomposeError("what comes on standard input cannot be published", hint="name a file with -f")
    gathered = publication(project.config_files, project.working_dir, loaded.variables)
    _check(project, gathered, options, confirm)
    built = tuple(name for name, service in project.services.items() if service.build is not None)
    if built:
        image_operations.push(choices, project, built, image_operations.PushOptions(ignore_failures=True), tell)
    parts = list(_parts(gathered, options))
    if options.resolve_image_digests:
        parts.append(_file("image-digests.yaml", _pinned(project), options.version))
    tell(phases.Remark(f" {repository} publishing"))
    images = _images(project, tell) if options.with_images and not choices.dry_run else []
    digest = "" if choices.dry_run else _push(repository, parts, images, options)
    tell(phases.Remark(f" {repository} published"))
    return digest


def _images(project: Project, tell: Tell) -> list[str]:
    """The images of the services, on this machine."""
    from . import image_operations, images

    services = {service.image: service for service in project.services.values() if service.image not in (None, "host")}
    due = [images.Fetch(str(name), (service.name,)) for name, service in services.items() if not images.here(service)]
    if failures := image_operations.fetch(due, tell):
        raise image_operations.FetchFailed(failures)
    return [str(name) for name in services]


def _push(repository: str, parts: list[ArtifactPart], images: list[str], options: PublishOptions) -> str:
    from pycompose.runtime.images.registry import artifact
    from pycompose.runtime.images.registry.push import push as push_image

    from .image_store import ask_store
    from .images import run_tasks

    kind = artifact.ArtifactKind(ARTIFACT, OLD_CONFIG)

    async def push() -> str:
        created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        digest = await artifact.push(
            repository, kind, parts, created=created, version=options.oci_version, insecure=options.insecure
        )
        if images:
            pushed = [await push_image(ask_store(), image, beside=repository) for image in images]
            notes = {f"{NOTE}version": options.version}
            await artifact.refer(repository, kind, digest, pushed, notes, insecure=options.insecure)
        return digest

    return run_tasks(push)


def _parts(gathered: PublishedProject, options: PublishOptions) -> Iterator[ArtifactPart]:
    from pycompose.runtime.images.registry.artifact import ArtifactPart

    for file in gathered.files:
        part = _file(file.name, file.text, options.version)
        yield replace(part, annotations={**part.annotations, f"{NOTE}extends": "true"}) if file.extends else part
    for path, name in gathered.env_files.items() if options.with_env else ():
        try:
            with open(path, "rb") as content:
                data = content.read(LARGEST + 1)
        except OSError as error:
            raise PycomposeError(f"{path} cannot be read: {error.strerror}") from error
        if len(data) > LARGEST:
            raise PycomposeError(f"{path} is larger than {LARGEST >> 20} MiB")
        yield ArtifactPart(ENV_FILE, data, {f"{NOTE}version": options.version, f"{NOTE}envfile": name})


def _file(name: str, text: str, version: str) -> ArtifactPart:
    from pycompose.runtime.images.registry.artifact import ArtifactPart

    return ArtifactPart(FILE, text.encode(), {f"{NOTE}version": version, f"{NOTE}file": name})


def _pinned(project: Project) -> str:
    from pycompose.compose.file.emitter import to_yaml

    from .images import pinned

    names = pinned([service.image for service in project.services.values() if service.image])
    services = {
        name: {"image": names.get(service.image, service.image)}
        for name, service in project.services.items()
        if service.image
    }
    return to_yaml({"services": services})


# Questions


def _check(
    project: Project, gathered: PublishedProject, options: PublishOptions, confirm: Callable[[str], bool]
) -> None:
    """Raises PycomposeError where it cannot be published, or is not to be."""
    only_built = [
        name
        for name, service in project.services.items()
        if service.build is not None and service.image in (None, project.own_image(name))
    ]
    if only_built:
        names = "".join(f'\n- "{name}"' for name in only_built)
        raise PycomposeError(
            "your Compose stack cannot be published as it only contains a build section for service(s):" + names,
            hint="name an image beside build: it is what others pull",
        )
    for question in (
        _binds(project),
        _secrets(project, gathered),
        _environment(gathered, options),
        _contents(gathered),
    ):
        if question and not confirm(question):
            raise PycomposeError("canceled", hint="-y answers every question with yes", exit_code=CANCELED)


def _binds(project: Project) -> str:
    from pycompose.compose.model.project import BindMount

    lines = [
        f"{name} {mount.source}:{mount.target}{':ro' if mount.read_only else ''}"
        for name, service in project.services.items()
        for mount in service.mounts
        if isinstance(mount, BindMount)
    ]
    if not lines:
        return ""
    return "\n".join(
        (
            "you are about to publish bind mounts declaration within your OCI artifact.",
            "only the bind mount declarations will be added to the OCI artifact (not content)",
            "please double check that you are not mounting potential user's sensitive directories or data",
            *lines,
            "Are you ok to publish these bind mount declarations?",
        )
    )


def _secrets(project: Project, gathered: PublishedProject) -> str:
    secrets: list[sensitive.DetectedSecret] = []
    for literal in gathered.literals:
        key = literal.path[-1] if literal.path else ""
        value = f'{key}="{literal.value}"' if "aws" in key.lower() and '"' not in literal.value else literal.value
        secrets += sensitive.secrets_in(value, ".".join(literal.path))
    sources = (*project.configs.values(), *project.secrets.values())
    files = [*gathered.env_files, *(source.file for source in sources if source.file)]
    for path in dict.fromkeys(files):
        try:
            with open(path, encoding="utf-8", errors="replace") as content:
                secrets += sensitive.secrets_in(content.read(LARGEST), path)
        except OSError:
            continue  # whoever needs it tells
    if not secrets:
        return ""
    return "\n".join(
        (
            "you are about to publish sensitive data within your OCI artifact.",
            "please double check that you are not leaking sensitive data",
            *(f'{secret.kind}\n"{secret.key}": {secret.value}' for secret in secrets),
            "Are you ok to publish these sensitive data?",
        )
    )


def _environment(gathered: PublishedProject, options: PublishOptions) -> str:
    if options.with_env:
        return ""
    keys: dict[str, list[str]] = {}
    for literal in gathered.literals:
        match literal.path:
            case ("services", service, "environment", key) if sensitive.is_secret_by_name(key, literal.value):
                keys.setdefault(service, []).append(f'"{key}"')
    lines = []
    for service in sorted({*keys, *gathered.users_of_env_files}):
        if service in gathered.users_of_env_files:
            lines.append(f'  service "{service}": env_file declared')
        if service in keys:
            lines.append(f'  service "{service}": literal value for {", ".join(sorted(set(keys[service])))}')
    if not lines:
        return ""
    return "\n".join(
        (
            "you are about to publish env-related declarations within your OCI artifact.",
            "env_file paths and literal values for sensitive-looking keys are embedded as-is in the published YAML;",
            'interpolated values like "${VAR}" are kept symbolic and have already been excluded.',
            *lines,
            "Use --with-env to silence this prompt and always publish env declarations.",
            "Are you ok to publish these env declarations?",
        )
    )


def _contents(gathered: PublishedProject) -> str:
    names = sorted(
        literal.path[1]
        for literal in gathered.literals
        if len(literal.path) == 3
        and (literal.path[0], literal.path[2]) == ("configs", "content")
        and sensitive.is_literal(literal.value)
    )
    if not names:
        return ""
    return "\n".join(
        (
            "you are about to publish literal inline config content within your OCI artifact.",
            *(f'  config "{name}"' for name in names),
            "Are you ok to publish these config contents?",
        )
    )
