"""`install-plugin`, `uninstall-plugin`: a link to this program where docker's client looks for `docker compose`.

Rules: what is not ours is never deleted: another plugin in that place is put aside, and put back.
"""

from __future__ import annotations

import os
import shutil
import sys

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command
from pycompose.compose.cli.docker_call import NAME
from pycompose.compose.cli.output import terminal
from pycompose.errors import PycomposeError

EVERYBODY = "/usr/local/lib/docker/cli-plugins"
PUT_ASIDE = f".{NAME}.before-pycompose"
SYSTEM = click.option("--system", is_flag=True, help=f"For all users of this machine, in {EVERYBODY}.")


@command("install-plugin")
@SYSTEM
@click.option("--force", is_flag=True, help="Where another plugin is: put it aside.")
@click.pass_obj
def install_plugin(choices: Choices, system: bool, force: bool) -> None:
    """Let `docker compose` be this program: docker's client calls it as its plugin, and needs no daemon for it.

    The link is made in ~/.docker/cli-plugins (or in $DOCKER_CONFIG), which comes before what docker's packages bring.
    """
    program, folder = _program(), _folder(system)
    link = f"{folder}/{NAME}"
    another = os.path.lexists(link) and not _is_ours(link)
    if another and not force:
        raise PycomposeError(f"{link} is there already, and is not ours", hint="--force puts it aside")
    if choices.dry_run:
        terminal.say(f"link {link} to {program}")
        return
    try:
        os.makedirs(folder, exist_ok=True)
        if another:
            os.rename(link, f"{folder}/{PUT_ASIDE}")
        beside = f"{folder}/.{NAME}.{os.getpid()}"
        os.symlink(program, beside)
        os.replace(beside, link)
    except OSError as error:
        raise PycomposeError(f"{link} cannot be made: {error.strerror}") from error
    terminal.say(f"`docker compose` is {program} now: {link}")
    if shutil.which("docker") is None:
        terminal.note("there is no docker client on the PATH yet (Debian: docker-cli); it needs no daemon for this")


@command("uninstall-plugin")
@SYSTEM
@click.pass_obj
def uninstall_plugin(choices: Choices, system: bool) -> None:
    """Let `docker compose` be what it was before install-plugin."""
    folder = _folder(system)
    link = f"{folder}/{NAME}"
    if not _is_ours(link):
        kind = "is not ours" if os.path.lexists(link) else "is not there"
        raise PycomposeError(f"{link} {kind}", hint="" if system else "with --system: the one for all users")
    if choices.dry_run:
        terminal.say(f"remove {link}")
        return
    try:
        os.unlink(link)
        if os.path.lexists(f"{folder}/{PUT_ASIDE}"):
            os.rename(f"{folder}/{PUT_ASIDE}", link)
    except OSError as error:
        raise PycomposeError(f"{link} cannot be removed: {error.strerror}") from error
    terminal.say(f"{link} is " + ("what it was before" if os.path.lexists(link) else "removed"))


def _folder(system: bool) -> str:
    if system:
        return EVERYBODY
    return os.path.abspath(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")) + "/cli-plugins"


def _is_ours(link: str) -> bool:
    return os.path.islink(link) and os.path.basename(os.readlink(link)) == "pycompose"


def _program() -> str:
    """The script that was called, or the one beside this Python. Raises PycomposeError where neither is there."""
    for path in (sys.argv[0], f"{os.path.dirname(sys.executable)}/pycompose", shutil.which("pycompose") or ""):
        if os.path.basename(path) == "pycompose" and os.access(path, os.X_OK) and os.path.isfile(path):
            return os.path.abspath(path)
    raise PycomposeError("there is no script `pycompose` to link to", hint="install it with pip")
