"""Services of a provider: a program on the caller's PATH that makes what they are, and tells how it is reached.

`up` runs `TYPE compose --project-name=P up --option=value… SERVICE` and reads its JSON lines: `info`, `debug`, `error`,
and variables for those that depend on the service, `setenv` (behind the service's name) and `rawsetenv` (as they are);
`get-service-config` is answered on its stdin with the service as `config` prints it.
They are part of what a dependent is made from: others make it anew. Rules: runs in the command's own process, for the
caller's PATH, folder and tokens must be there, which a supervisor does not have; before anything of the plan, which is
decided with the variables; without the project's lock, as a cloud may take minutes and `up` of a provider may be run
twice. What a provider has made is not undone when a later step fails: `up` goes on from there, and `down` removes it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Literal

from pycompose.compose.model.project import Project, Service
from pycompose.compose.plan import graph
from pycompose.errors import PycomposeError

from . import phases

if TYPE_CHECKING:
    from .phases import Tell

Verb = Literal["up", "stop", "down"]
WORDS: Mapping[Verb, tuple[str, str]] = {
    "up": ("Creating", "Created"),
    "stop": ("Stopping", "Stopped"),
    "down": ("Removing", "Removed"),
}
PLUGINS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
LAST = 4096  # bytes of what a failed one wrote on stderr are told


class ProviderFailed(PycomposeError):
    """A provider is not there, does not keep to the protocol, or failed."""


def up(
    project: Project, services: Collection[str], variables: Mapping[str, str], tell: Tell, earlier: Project | None
) -> Project:
    """The project whose services have the variables of those among `services` that providers run: these are run now.

    Of others the variables are those of the `earlier` generation. Raises ProviderFailed.
    """
    for name in graph.order(project):
        service = project.services[name]
        if service.provider is None:
            continue
        if name in services:
            _check_dependencies(project, service)
            values = run(project, service, "up", variables, tell)
        else:
            known = earlier.services.get(name) if earlier else None
            values = dict(known.provided) if known else {}
        project = _provided(project, service, values, tell)
    return project


def planned(project: Project, services: Collection[str], verb: Verb, tell: Tell) -> None:
    """Tells what a dry run leaves out."""
    for name in _of_providers(project, services):
        tell(phases.ProviderPlanned(verb, str(getattr(project.services[name].provider, "type", "")), name))


def end(project: Project, services: Collection[str], verb: Verb, variables: Mapping[str, str], tell: Tell) -> bool:
    """Stop or remove what providers run for `services` (all, if empty), what needs others first; whether any did.

    All are tried. Raises ProviderFailed.
    """
    names = list(reversed(_of_providers(project, services)))
    failures: list[ProviderFailed] = []
    for name in names:
        try:
            run(project, project.services[name], verb, variables, tell)
        except ProviderFailed as error:
            failures.append(error)
    if failures:
        hints = "\n".join(dict.fromkeys(error.hint for error in failures if error.hint))
        raise ProviderFailed("\n".join(map(str, failures)), hint=hints)
    return bool(names)


def _of_providers(project: Project, services: Collection[str]) -> list[str]:
    return [
        name
        for name in graph.order(project)
        if project.services[name].provider is not None and (not services or name in services)
    ]


def _check_dependencies(project: Project, service: Service) -> None:
    for need in service.depends_on:
        other = project.services.get(need.service)
        if other is not None and other.provider is None and need.required:
            raise ProviderFailed(
                f'service "{service.name}" is made by a provider, which runs before containers are made, '
                f'and so cannot depend on "{need.service}"',
                hint="take its depends_on away",
            )


def _provided(project: Project, service: Service, values: Mapping[str, str], tell: Tell) -> Project:
    """The project in which those that depend on `service` have these variables."""
    services = dict(project.services)
    services[service.name] = replace(service, provided=MappingProxyType(dict(values)))
    prefix = f"{service.name.upper()}_"
    for name, dependent in project.services.items():
        if not values or all(need.service != service.name for need in dependent.depends_on):
            continue
        for key, value in values.items():
            if not key.startswith(prefix) and dependent.environment.get(key, value) != value:
                text = f'provider of "{service.name}" overrides variable "{key}" of service "{name}"'
                tell(phases.OperationWarning(text))
        services[name] = with_variables(dependent, service.name, values)
    return replace(project, services=MappingProxyType(services))


def with_variables(service: Service, provider: str, values: Mapping[str, str]) -> Service:
    """The service with what a provider tells, which is part of what its containers are compared by."""
    from pycompose.compose.file.canonical import text_digest

    text = json.dumps(sorted(values.items()))
    parts = {**service.hash_parts, f"variables of {provider}": text_digest(text)[:12]}
    return replace(
        service,
        environment=MappingProxyType({**service.environment, **values}),
        hash_parts=MappingProxyType(parts),
        config_hash=text_digest(json.dumps(sorted(parts.items()))),
    )


def run(project: Project, service: Service, verb: Verb, variables: Mapping[str, str], tell: Tell) -> dict[str, str]:
    """Have the provider of a service do `verb`; the variables that it told, whole names. Raises ProviderFailed."""
    assert service.provider is not None
    program = _program(service)
    environment = {**os.environ, **variables}
    metadata = _metadata(program, environment)
    if verb == "stop" and not isinstance(metadata.get("stop"), dict):
        return {}  # it has to say that it can
    command = [program, "compose", f"--project-name={project.name}", verb]
    command += [*_options(service, verb, metadata), service.name]
    during, after = WORDS[verb]
    tell(phases.ProviderProgress(service.name, during))
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment
            )
        except OSError as error:
            raise _failed(service, f"{program} cannot be run: {error.strerror}") from error
        with process:
            try:
                assert process.stdout is not None
                assert process.stdin is not None
                with open(process.stdin.fileno(), "wb", buffering=0, closefd=False) as answers:
                    values = _messages(project, service, process.stdout, answers, tell)
                code = process.wait()
            except BaseException:
                process.kill()
                raise
        if code:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - LAST))
            text = errors.read().decode(errors="replace").strip()
            how = f"ended with {code}" if code > 0 else f"was ended by signal {-code}"
            raise _failed(service, f"{verb} {how}", hint=text)
    tell(phases.ProviderProgress(service.name, after))
    return values


def _failed(service: Service, message: str, hint: str = "") -> ProviderFailed:
    kind = service.provider.type if service.provider else ""
    return ProviderFailed(f'provider "{kind}" of service "{service.name}": {message}', hint=hint)


def _program(service: Service) -> str:
    """A plugin of docker's command line, else a program of the caller's PATH."""
    assert service.provider is not None
    kind = service.provider.type
    if kind == "compose":
        raise _failed(service, "compose cannot be a provider")
    config = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    for folder in (f"{config}/cli-plugins", *PLUGINS):
        path = f"{folder}/docker-{kind}"
        if "/" not in kind and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    if (path_of_kind := shutil.which(kind)) is None:
        raise _failed(service, "there is no such program", hint=f"neither docker-{kind}, a plugin, nor {kind} in PATH")
    return path_of_kind


def _metadata(program: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What a provider says of its options; empty where it says nothing."""
    try:
        answer = subprocess.run(
            [program, "compose", "metadata"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            check=True,
        )
        metadata = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _options(service: Service, verb: Verb, metadata: Mapping[str, Any]) -> list[str]:
    """Flags for the options of the file, those that the provider knows where it says which. Raises ProviderFailed."""
    assert service.provider is not None
    options, known = service.provider.options, None
    if any(metadata.get(key) for key in ("description", "up", "down")):
        parameters = (metadata.get(verb) or {}).get("parameters") or []
        known = {str(one.get("name")): bool(one.get("required")) for one in parameters}
        for name, required in known.items():
            if required and name not in options:
                raise _failed(service, f'option "{name}" is missing', hint="it goes below provider.options")
    return [f"--{k}={value}" for k, values in options.items() if known is None or k in known for value in values]


def _configuration(project: Project, service: Service) -> bytes:
    """A service as `config --format json` prints it, on one line."""
    from pycompose.compose.file import show
    from pycompose.compose.file.canonical import service_tree

    tree = {"services": {service.name: service_tree(service, project.own_image(service.name))}}
    shown = json.loads(show.to_json(tree, escape=False))["services"][service.name]
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _messages(
    project: Project, service: Service, lines: Iterable[bytes], answers: IO[bytes], tell: Tell
) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in lines:
        if not line.strip():
            continue
        try:
            message = json.loads(line)
            kind, text = message["type"], str(message.get("message", ""))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise _failed(
                service, f"it wrote what is no message: {line[:80].decode(errors='replace').strip()}"
            ) from None
        key, equals, value = text.partition("=")
        match kind:
            case "error":
                raise _failed(service, text.strip())
            case "info":
                tell(phases.ProviderProgress(service.name, text.strip().partition("\n")[0]))
            case "setenv" if equals:
                values[f"{service.name.upper()}_{key}"] = value
            case "rawsetenv" if equals:
                values[key] = value
            case "get-service-config":
                with suppress(BrokenPipeError):  # it listens no more
                    answers.write(_configuration(project, service))
            case "debug":
                tell(phases.ProviderProgress(service.name, text.strip(), debug=True))
            case _:
                raise _failed(service, f"it wrote what is no message: {kind}: {text[:80]}")
    return values
