"""completion: what a shell loads so that the TAB key knows commands, options and the services of the file here.

The shell asks `pycompose` itself at each TAB, by an environment variable (click's shell_completion). So answers must be
quick, and what cannot be read is as if it had no names.
"""

from __future__ import annotations

from collections.abc import Sequence

import click
from pycompose.compose.cli.command import command

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_PYCOMPOSE_COMPLETE"


@command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what a shell loads to complete commands, options and services.

    \b
    bash:  pycompose completion bash > /etc/bash_completion.d/pycompose
    zsh:   pycompose completion zsh > "${fpath[1]}/_pycompose"
    fish:  pycompose completion fish > ~/.config/fish/completions/pycompose.fish

    For this one shell: source <(pycompose completion bash)
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root()
    script = kind(root.command, {}, "pycompose", VARIABLE)
    click.echo(_without_space(script.source_template) % script.source_vars())


def _without_space(template: str) -> str:
    """click's script, where what ends with "=" or ":" goes on: `scale web=` and `cp web:`. fish knows that itself."""
    bash = "COMPREPLY+=($value)"
    going_on = f"{bash}\n            [[ $value == *[=:] ]] && compopt -o nospace 2>/dev/null"
    zsh = 'completions+=("$key")'
    apart = f"if [[ $key == *[=:] ]]; then compadd -U -S '' -- \"$key\"; else {zsh}; fi"
    return template.replace(bash, going_on).replace(zsh, apart)


def answer_docker(words: Sequence[str], *, described: bool) -> None:
    """What docker's completion script asks its plugins at each TAB: a line each, then a number that says what the shell
    may add (spf13/cobra, ShellCompDirective): 0 file names, 4 none, 2 not even a space."""
    from click.shell_completion import ShellComplete
    from pycompose.compose.cli.root import cli

    *before, last = words or ("",)
    items = ShellComplete(cli, {}, "pycompose", VARIABLE).get_completions(before, last)
    for item in items:
        if item.type == "plain":
            click.echo(f"{item.value}\t{item.help}" if described and item.help else item.value)
    if any(item.type in ("file", "dir") for item in items):
        click.echo(":0")
    else:
        click.echo(":6" if items and all(item.value.endswith(("=", ":")) for item in items) else ":4")
