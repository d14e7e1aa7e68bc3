"""`login`, `logout`: credentials for registries, in the file and with the helpers of docker's client."""

from __future__ import annotations

import os
import sys

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output import terminal
from pycompose.errors import PycomposeError

MOST = 64 << 10  # bytes of a password, tokens included
NO_HELPER = """
WARNING! Your credentials are stored unencrypted in '{}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/
"""


@command("login")
@click.option("-u", "--username", default="", metavar="NAME", help="The name to log in with.")
@click.option("-p", "--password", default="", metavar="TEXT", help="The password or token; other users see it in `ps`.")
@click.option("--password-stdin", is_flag=True, help="Read the password or token from standard input.")
@click.argument("server", default="")
@click.pass_obj
def login(choices: Choices, username: str, password: str, password_stdin: bool, server: str) -> None:
    """Log in to a registry; to Docker Hub without SERVER.

    The credentials are tried, and kept in ~/.docker/config.json (or in $DOCKER_CONFIG), or by the credential helper
    that is named there: docker's client and this program share them.
    """
    from pycompose.compose.app import registry_login

    if password:
        terminal.note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
        if password_stdin:
            raise PycomposeError("--password and --password-stdin are mutually exclusive")
    if password_stdin:
        if not username:
            raise PycomposeError("Must provide --username with --password-stdin")
        password = _piped()
    registry = registry_login.registry_of(server)
    registry_login.check(registry)
    if choices.dry_run:
        terminal.say(f"would log in to {registry}")
        return
    known = None if username or password else registry_login.stored(registry)
    if known is not None:
        name = f" [Username: {known.username}]" if known.username else ""
        terminal.say(f"Authenticating with existing credentials...{name}")
        terminal.note("To login with a different account, run 'pycompose logout' followed by 'pycompose login'\n")
        if (path := registry_login.log_in_again(registry, known)) is not None:
            _say_done(path)
            return
        terminal.note("Stored credentials invalid or expired")
    name, secret = _asked(username, password, known.username if known else "")
    _say_done(registry_login.log_in(registry, name, secret))


@command("logout")
@click.argument("server", default="")
@click.pass_obj
def logout(choices: Choices, server: str) -> None:
    """Forget the credentials for a registry; for Docker Hub without SERVER."""
    from pycompose.compose.app import registry_login

    registry = registry_login.registry_of(server)
    terminal.say(f"Removing login credentials for {registry_login.key_of(registry)}")
    if choices.dry_run:
        return
    try:
        registry_login.log_out(registry)
    except PycomposeError as error:
        terminal.warn(f"could not erase credentials: {error}")


def _say_done(path: str) -> None:
    if path:
        terminal.note(NO_HELPER.format(path))
    terminal.say("Login Succeeded")


def _piped() -> str:
    text = sys.stdin.buffer.read(MOST + 1)
    if len(text) > MOST:
        raise PycomposeError("what comes on standard input is too long for a password")
    try:
        return text.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise PycomposeError("what comes on standard input is not UTF-8 text") from error


def _asked(username: str, password: str, usual: str) -> tuple[str, str]:
    """Name and password, typed where they are not there yet."""
    if username and password:
        return username, password
    if not os.isatty(0):
        raise PycomposeError(
            "Cannot perform an interactive login from a non TTY device",
            hint="give the name with -u, and the password with --password-stdin",
        )
    if not username:
        try:
            username = click.prompt("Username", default=usual, show_default=bool(usual), err=True).strip()
        except click.Abort:
            terminal.end_line()
            raise
    if not username:
        raise PycomposeError("username is required")
    if not password:
        password = click.prompt("Password", default="", show_default=False, hide_input=True, err=True)
    if not password:
        raise PycomposeError("password is required")
    return username, password
