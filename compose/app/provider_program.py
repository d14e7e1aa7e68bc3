"""The program of a provider: found, called, and heard.

`TYPE compose --project-name=P VERB --option=value… SERVICE` writes JSON lines: `info`, `debug`, `error`, and variables
for those that depend on the service, `setenv` (behind the service's name) and `rawsetenv` (as they are);
`get-service-config` is answered on its stdin with the service as `config` prints it. Rules: it has the caller's PATH,
folder and environment; it is killed once `stopped` is readable, and nobody waits for its children then.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from pycompose.compose.model.project import Project, Service
from pycompose.compose.plan.steps import ProviderVerb
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

PLUGINS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
WORDS: Mapping[ProviderVerb, str] = {"up": "create", "stop": "stop", "down": "remove"}
LAST = 4096  # bytes of what a failed one wrote on stderr are told
NEVER = -1

Say = Callable[[str, bool], None]  # a text, and whether it is for those alone who want to know all


class ProviderFailed(PycomposeError):
    """A provider is not there, does not keep to the protocol, or failed."""


class ProviderStopped(Exception):
    """Nobody wants the outcome any more."""


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """`variables` are the project's, beside the caller's environment; `stopped` is a descriptor, or NEVER."""

    project: Project
    service: Service
    variables: Mapping[str, str]
    stopped: int = NEVER
    say: Say = lambda text, debug: None

    @property
    def kind(self) -> str:
        return self.service.provider.type if self.service.provider else ""

    def failed(self, message: str, hint: str = "") -> ProviderFailed:
        return ProviderFailed(f'provider "{self.kind}" of service "{self.service.name}": {message}', hint=hint)


def run(call: ProviderCall, verb: ProviderVerb) -> dict[str, str]:
    """Have the provider of a service do `verb`; the variables that it told, whole names.

    Raises ProviderFailed, ProviderStopped.
    """
    program = _program(call)
    metadata = _metadata(call, program)
    if verb == "stop" and not _stops(metadata):
        return {}
    options = _options(call, verb, metadata)
    command = [program, "compose", f"--project-name={call.project.name}", verb, *options, call.service.name]
    with tempfile.TemporaryFile() as errors:
        with _running(call, command, errors) as process:
            values = _messages(call, process)
            _await_end(process, call.stopped)
        if code := process.returncode:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - LAST))
            text = errors.read().decode(errors="replace").strip()
            how = f"exit status {code}" if code > 0 else f"signal {-code}"
            raise call.failed(f"failed to {WORDS[verb]} service provider: {how}", hint=text)
    return values


def stops(call: ProviderCall) -> bool:
    """Whether the provider says that it can stop. False where there is no such program, which is told by `run`."""
    try:
        return _stops(_metadata(call, _program(call)))
    except ProviderFailed:
        return False


def _stops(metadata: Mapping[str, Any]) -> bool:
    return isinstance(metadata.get("stop"), dict)


@contextmanager
def _running(call: ProviderCall, command: list[str], errors: IO[bytes] | int) -> Iterator[subprocess.Popen[bytes]]:
    """The program while it runs: where the body fails, it is killed. Raises ProviderFailed."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **call.variables},
        )
    except OSError as error:
        raise call.failed(f"{command[0]} cannot be run: {error.strerror}") from error
    try:
        yield process
    except BaseException:
        process.kill()
        raise
    finally:
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()
        process.wait()


def _ready(descriptors: Mapping[int, int], stopped: int) -> dict[int, int]:
    """Those of the descriptors that are ready for what they are waited for. Raises ProviderStopped."""
    poll = select.poll()
    for descriptor, event in descriptors.items():
        poll.register(descriptor, event)
    if stopped != NEVER:
        poll.register(stopped, select.POLLIN)
    ready = dict(poll.poll())
    if stopped in ready:
        raise ProviderStopped
    return ready


def _await_end(process: subprocess.Popen[bytes], stopped: int) -> None:
    """It may have closed its stdout and go on."""
    ended = os.pidfd_open(process.pid)
    try:
        _ready({ended: select.POLLIN}, stopped)
    finally:
        os.close(ended)
    process.wait()


def _lines(process: subprocess.Popen[bytes], stopped: int, answers: bytearray) -> Iterator[bytes]:
    """Lines of stdout as they come, while what is in `answers` is written to stdin."""
    assert process.stdin is not None
    assert process.stdout is not None
    source, sink, rest, hears = process.stdout.fileno(), process.stdin.fileno(), b"", True
    os.set_blocking(sink, False)
    while True:
        wanted = {source: select.POLLIN} | ({sink: select.POLLOUT} if answers and hears else {})
        ready = _ready(wanted, stopped)
        if sink in ready:
            try:
                del answers[: os.write(sink, answers)]
            except BlockingIOError:
                pass
            except BrokenPipeError:  # it listens no more
                hears = False
        if source in ready:
            part = os.read(source, 1 << 16)
            *whole, rest = (rest + part).split(b"\n")
            yield from whole
            if not part:
                yield rest
                return


def _program(call: ProviderCall) -> str:
    """A plugin of docker's command line, else a program of the caller's PATH."""
    kind = call.kind
    if kind == "compose":
        raise call.failed("'compose' is not a valid provider type")
    config = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    for folder in (f"{config}/cli-plugins", *PLUGINS):
        path = f"{folder}/docker-{kind}"
        if "/" not in kind and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    if (path_of_kind := shutil.which(kind)) is None:
        raise call.failed("there is no such program", hint=f"neither docker-{kind}, a plugin, nor {kind} in PATH")
    return path_of_kind


def _metadata(call: ProviderCall, program: str) -> dict[str, Any]:
    """What a provider says of its options; empty where it says nothing."""
    try:
        with _running(call, [program, "compose", "metadata"], subprocess.DEVNULL) as process:
            text = b"\n".join(_lines(process, call.stopped, bytearray()))
            _await_end(process, call.stopped)
        metadata = json.loads(text) if process.returncode == 0 else {}
    except (ProviderFailed, ValueError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _options(call: ProviderCall, verb: ProviderVerb, metadata: Mapping[str, Any]) -> list[str]:
    """Flags for the options of the file, those that the provider knows where it says which. Raises ProviderFailed."""
    assert call.service.provider is not None
    options, known = call.service.provider.options, None
    if any(metadata.get(key) for key in ("description", "up", "down")):
        parameters = (metadata.get(verb) or {}).get("parameters") or []
        known = {str(one.get("name")): bool(one.get("required")) for one in parameters}
        for name, required in known.items():
            if required and name not in options:
                raise call.failed(
                    f'required parameter "{name}" is missing from its definition', hint="it goes below provider.options"
                )
    return [f"--{k}={value}" for k, values in options.items() if known is None or k in known for value in values]


def _configuration(call: ProviderCall) -> bytes:
    """A service as `config --format json` prints it, on one line."""
    from pycompose.compose.file import show
    from pycompose.compose.file.canonical import service_tree

    name = call.service.name
    tree = {"services": {name: service_tree(call.service, call.project.own_image(name))}}
    shown = json.loads(show.to_json(tree, escape=False))["services"][name]
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _messages(call: ProviderCall, process: subprocess.Popen[bytes]) -> dict[str, str]:
    values: dict[str, str] = {}
    answers = bytearray()
    for line in _lines(process, call.stopped, answers):
        if not line.strip():
            continue
        try:
            message = json.loads(line)
            kind, text = message["type"], str(message.get("message", ""))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            text = line[:80].decode(errors="replace").strip()
            raise call.failed(f"invalid response from plugin: {text}") from None
        key, equals, value = text.partition("=")
        match kind:
            case "error":
                raise call.failed(text.strip())
            case "info":
                call.say(text.strip().partition("\n")[0], False)
            case "setenv" if equals:
                values[f"{call.service.name.upper()}_{key}"] = value
            case "rawsetenv" if equals:
                values[key] = value
            case "get-service-config":
                answers += _configuration(call)
            case "debug":
                call.say(text.strip(), True)
            case _:
                raise call.failed(f"invalid response from plugin: {kind}: {text[:80]}")
    return values
