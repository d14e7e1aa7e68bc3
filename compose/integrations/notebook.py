"""The magics of a notebook: `%%compose`, whose cell is a compose file, and `%compose`, which commands its project.

    %load_ext pycompose

    %%compose up --name demo
    services:
      web: {image: nginx}

    %compose ps

Rules: the project is the variable `compose_project`, that of the folder where no cell has made one; while a command is
under way, its picture is drawn anew. Of IPython alone what displays things, so that no package of widgets is needed.
Words that a command does not know are refused, never left out.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from pycompose.compose.app.api.notebook_picture import preformatted, table
from pycompose.compose.app.api.projects import Project
from pycompose.errors import PycomposeError

OFTEN = 0.1  # seconds between two pictures of what goes on
NAME = "compose_project"
VERBS = ("create", "kill", "pause", "restart", "start", "stop", "unpause")  # which take services and nothing else
COMMANDS = tuple(sorted((*VERBS, "config", "down", "logs", "ps", "scale", "up")))

Content = dict[str, str]
Show = Callable[[Content], Any]


class _Live:
    """A picture that is drawn anew while something goes on, and stays as it is in the end."""

    def __init__(self, project: Project, show: Show) -> None:
        self._project, self._handle = project, show(project._repr_mimebundle_())
        self._at, self._lock = 0.0, threading.Lock()

    def __call__(self, _: object) -> None:
        with self._lock:
            if time.monotonic() - self._at >= OFTEN:
                self.draw()

    def draw(self) -> None:
        self._handle.update(self._project._repr_mimebundle_(), raw=True)
        self._at = time.monotonic()


def _display(content: Content) -> Any:
    from IPython.display import display

    return display(content, raw=True, display_id=True)


def run(project: Project, words: Sequence[str], show: Show = _display) -> None:
    """A command of the project, with words as on the command line. Raises PycomposeError."""
    verb, *rest = words
    names = tuple(word for word in rest if not word.startswith("-"))
    options = {word for word in rest if word.startswith("-")}
    known = {"-v", "--volumes"} if verb == "down" else set()
    if verb not in COMMANDS or not options <= known:
        raise PycomposeError(f"%compose {' '.join(words)} is not there", hint=f"there are: {', '.join(COMMANDS)}")
    match verb:
        case "ps":
            containers = project.ps(names, all=True)
            plain = "\n".join(f"{one.name}  {one.health or one.status}" for one in containers)
            show({"text/plain": plain, "text/html": table(containers)})
        case "logs":
            show(preformatted("\n".join(f"{entry.container} | {entry.text}" for entry in project.logs(names))))
        case "config":
            show(preformatted(project.config_yaml()))
        case "scale":
            counts = _counts(names)
            _alive(project, show, lambda live: project.scale(counts, progress=live))
        case "down":
            _alive(project, show, lambda live: project.down(names, volumes=bool(options), progress=live))
        case "up":
            _alive(project, show, lambda live: project.up(names, wait=True, progress=live))
        case _:
            _alive(project, show, lambda live: getattr(project, verb)(names, progress=live))


def _counts(words: Sequence[str]) -> dict[str, int]:
    counts = {}
    for word in words:
        name, _, number = word.partition("=")
        if not number.isdecimal():
            raise PycomposeError(f"invalid scale specifier: {word}", hint="%compose scale web=3")
        counts[name] = int(number)
    return counts


def _alive(project: Project, show: Show, act: Callable[[_Live], object]) -> None:
    live = _Live(project, show)
    try:
        act(live)
    finally:
        live.draw()


def _taken_name(words: list[str]) -> str | None:
    """The project's name, which is taken out of the words."""
    for place, word in enumerate(words):
        if word in ("-p", "--name", "--project-name"):
            if len(words) == place + 1:
                raise PycomposeError(f"flag needs an argument: {word}", hint=f"%%compose {word} demo")
            name = words[place + 1]
            del words[place : place + 2]
            return name
    return None


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext pycompose`."""
    from IPython.core.error import UsageError

    def compose(line: str, cell: str | None = None) -> Project | None:
        """`%%compose [up] [--name NAME]`: the cell is the file. `%compose COMMAND [SERVICE...]`: of the last one."""
        try:
            return act(shlex.split(line), cell)
        except ValueError as error:  # a quotation that does not end
            raise UsageError(f"%compose {line}: {error}") from None
        except PycomposeError as error:
            raise UsageError(str(error) + (f"\nhint: {error.hint}" if error.hint else "")) from None

    def act(words: list[str], cell: str | None) -> Project | None:
        if cell is not None:
            name = _taken_name(words)
            project = shell.user_ns[NAME] = Project.from_text(cell, name=name)
            if not words:
                return project
        elif not isinstance(project := shell.user_ns.get(NAME), Project):
            project = shell.user_ns[NAME] = Project.load()
        run(project, words or ["ps"])
        return None

    shell.register_magic_function(compose, "line_cell", "compose")
