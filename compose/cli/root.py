"""The root of the command line: the options that all commands share, and where each command lies.

Rules: a command's module is imported when the command is called, never before; the table below is all that the help
and the suggestions need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import click
from pycompose.compose.app.choices import Choices

from .arguments import PROGRESS
from .go_arguments import GoArguments
from .output import terminal

SECTIONS = ("Run a project", "Look at it", "Work inside", "Images and volumes", "About files")


# name -> module of this folder, name there ("": the command's own), section, one line for the help
COMMANDS: dict[str, tuple[str, str, str, str]] = {
    "up": ("up", "", "Run a project", "Make and start containers, and whatever they need"),
    "watch": ("watch", "", "Run a project", "Carry changes of files into containers as they are saved"),
    "down": ("down", "", "Run a project", "Stop and remove containers and networks"),
    "scale": ("scale", "", "Run a project", "Set how many containers services have"),
    "create": ("create", "", "Run a project", "Make containers without starting them"),
    "start": ("start", "", "Run a project", "Start containers that exist"),
    "stop": ("stop", "", "Run a project", "Stop containers, and keep them"),
    "restart": ("restart", "", "Run a project", "Stop containers and start them again"),
    "kill": ("kill", "", "Run a project", "Send containers a signal"),
    "pause": ("pause", "", "Run a project", "Freeze containers"),
    "unpause": ("unpause", "", "Run a project", "Let frozen containers go on"),
    "rm": ("rm", "", "Run a project", "Remove stopped containers"),
    "ps": ("ps", "", "Look at it", "List the project's containers"),
    "logs": ("logs", "", "Look at it", "Print what containers wrote"),
    "top": ("top", "", "Look at it", "List the processes inside containers"),
    "stats": ("stats", "", "Look at it", "Show what containers use, live"),
    "port": ("port", "", "Look at it", "Say where a service's port is published"),
    "ls": ("ls", "list_projects", "Look at it", "List the projects of this machine"),
    "events": ("events", "", "Look at it", "Print what happens to containers, as it happens"),
    "debug": ("debug", "", "Look at it", "Write all that is on record of a project into one file"),
    "exec": ("exec", "execute", "Work inside", "Run a command in a running container"),
    "cp": ("cp", "", "Work inside", "Copy files into containers and out of them"),
    "run": ("run", "", "Work inside", "Run a command in a new container of a service"),
    "export": ("export", "", "Work inside", "Write a container's file system as a tar"),
    "commit": ("commit", "", "Work inside", "Make an image of a container"),
    "attach": ("attach", "", "Work inside", "Follow one container's output"),
    "wait": ("wait", "", "Work inside", "Wait until containers have stopped"),
    "images": ("images", "project_images", "Images and volumes", "List the images of the project's containers"),
    "image": ("image", "", "Images and volumes", "Pull, push, build, list, tag, save and remove images"),
    "volumes": ("volumes", "project_volumes", "Images and volumes", "List the project's volumes"),
    "volume": ("volume", "", "Images and volumes", "Make, list and remove volumes"),
    "network": ("network", "", "Images and volumes", "Make, list, inspect and remove networks"),
    "inspect": ("inspect", "", "Images and volumes", "Print all that is on record, as docker's JSON"),
    "system": ("system", "", "Images and volumes", "Say what is on the disk, and remove what nobody uses"),
    "pull": ("pull", "", "Images and volumes", "Fetch the images of services"),
    "push": ("push", "", "Images and volumes", "Push the images of services"),
    "publish": ("publish", "", "Images and volumes", "Publish the compose files in a registry"),
    "login": ("login", "", "Images and volumes", "Log in to a registry"),
    "logout": ("login", "logout", "Images and volumes", "Forget the credentials for a registry"),
    "build": ("build", "", "Images and volumes", "Build the images of services"),
    "builder": ("builder", "", "Images and volumes", "Forget what builds remember"),
    "config": ("config", "", "About files", "Check the compose file and print its canonical form"),
    "convert": ("config", "config", "", ""),
    "graph": ("graph", "", "About files", "Draw which service waits for which"),
    "bridge": ("bridge", "", "About files", "Convert the compose file into another model, as Kubernetes'"),
    "alpha": ("alpha", "", "", ""),
    "completion": ("completion", "", "About files", "Print what a shell loads to complete commands and services"),
    "version": ("version", "", "About files", "Say which version this is"),
    "help": ("help", "show_help", "About files", "Print the help of a command"),
    "install-plugin": ("plugin", "install_plugin", "About files", "Let `docker compose` be this program"),
    "uninstall-plugin": ("plugin", "uninstall_plugin", "About files", "Let `docker compose` be what it was"),
}


class UnknownCommand(click.UsageError):
    """A command that is not there; `possibilities` are the nearest."""

    def __init__(self, name: str, possibilities: Sequence[str], context: click.Context) -> None:
        super().__init__(f'unknown docker command: "compose {name}"', context)
        self.possibilities = possibilities


class Root(GoArguments, click.Group):
    """The program. Commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, (_, _, section, _) in COMMANDS.items() if section and _there(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module, attribute, _, _ = COMMANDS[cmd_name]
        if not _there(cmd_name):
            return None
        loaded = getattr(import_module(f".commands.{module}", __package__), attribute or cmd_name, None)
        return loaded if isinstance(loaded, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if (resolved := self.get_command(ctx, args[0])) is None:
            from difflib import get_close_matches

            raise UnknownCommand(args[0], get_close_matches(args[0], self.list_commands(ctx), 2, 0.6), ctx)
        return resolved.name, resolved, args[1:]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        import sys

        on = terminal.coloured(sys.stdout)

        def bold(text: str) -> str:
            return terminal.paint(text, "bold", on)

        write, room = formatter.write, formatter.width

        def lead(first: str, rest: str) -> str:
            return bold(first) + wrapped(f"{first} {rest}", room).removeprefix(first) + "\n"

        write(lead("pycompose", "runs the containers of a compose file on this machine, without a daemon.") + "\n")
        write(f"{bold('Usage:')} pycompose [OPTIONS] COMMAND ...\n\n")
        write(lead("To begin,", "in a folder with a compose.yaml:"))
        for line, text in (
            ("pycompose up -d", "start everything in the background"),
            ("pycompose ps", "see what runs"),
            ("pycompose logs -f", "follow what it says (Ctrl-C leaves)"),
            ("pycompose exec SERVICE sh", "look around inside"),
            ("pycompose down", "stop and remove it all; volumes stay"),
        ):
            write(described(line, text, 27, room, lambda text: terminal.paint(text, "dim", on)))
        there = set(self.list_commands(ctx))
        for section in SECTIONS:
            rows = [(name, entry[3]) for name, entry in COMMANDS.items() if entry[2] == section and name in there]
            if rows:
                write(f"\n{bold(section + ':')}\n")
                longest = max(10, *(len(name) for name, _ in rows))
                for name, text in rows:
                    write(described(name, text, longest + 1, room))
        write(f"\n{bold('Options')} (before the command):\n")
        records = [record for p in self.get_params(ctx) if (record := p.get_help_record(ctx)) is not None]
        width = max(len(names) for names, _ in records) + 2
        for names, text in records:
            write(described(names, text, width, room))
        write(f"\n{terminal.paint(wrapped('`pycompose COMMAND --help` says more about each.', room), 'dim', on)}\n")


def wrapped(text: str, room: int) -> str:
    import textwrap

    return textwrap.fill(text, room, break_on_hyphens=False)


def described(name: str, text: str, width: int, room: int, paint: Callable[[str], str] = lambda text: text) -> str:
    """A row of a help: a name in a column of so many, and what it is; below it where the terminal is narrow."""
    import textwrap

    if len(text) + width + 2 <= room:
        return f"  {name:<{width}}{paint(text)}\n"
    below = width > room // 2
    indent = " " * (6 if below else width + 2)
    lines = textwrap.wrap(text, room - len(indent), break_on_hyphens=False)
    head = [f"  {name}"] if below else []
    lines = [*head, *(indent + paint(line) for line in lines)]
    if not below:
        lines[0] = f"  {name:<{width}}{lines[0][width + 2 :]}"
    return "\n".join(lines) + "\n"


def _there(name: str) -> bool:
    """Whether a command's module exists (the table may be ahead of the code)."""
    import os

    return os.path.exists(f"{os.path.dirname(__file__)}/commands/{COMMANDS[name][0]}.py")


VERSION = "Say which version this is."


def _say_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from .output.terminal import version_text

        click.echo(version_text(for_docker=context.info_name != "pycompose"))
        context.exit()


def _options_of_env_files(context: click.Context, project: Choices) -> dict[str, Any]:
    """Values of this group's options that env files give. The commands find theirs in the process's environment."""
    import os

    from pycompose.compose.app.nearby_files import variables_of_env_files

    variables = variables_of_env_files(project)
    os.environ.update(variables)
    values = {}
    for option in context.command.params:
        if not option.name or not isinstance(option.envvar, str) or option.envvar not in variables:
            continue
        if context.get_parameter_source(option.name) is click.core.ParameterSource.DEFAULT:
            try:
                values[option.name] = option.process_value(context, variables[option.envvar])
            except click.BadParameter as error:
                from .usage_errors import wrong_value

                raise wrong_value(error, option, context) from error
    return values


@click.group(
    cls=Root,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="A compose file; later ones are merged in.",
)
@click.option("-p", "--project-name", metavar="NAME", help="The project's name.")
@click.option(
    "--project-directory", "--workdir", type=click.Path(), metavar="FOLDER", help="What relative paths start from."
)
@click.option("--env-file", "env_files", multiple=True, type=click.Path(), metavar="FILE", help="Instead of .env.")
@click.option("--profile", "profiles", multiple=True, metavar="NAME", help="A profile to enable ('*': all).")
@click.option("--dry-run", is_flag=True, help="Print the plan and do nothing.")
@click.option(
    "--progress",
    type=click.Choice(PROGRESS),
    default="auto",
    envvar="COMPOSE_PROGRESS",
    metavar="HOW",
    help="auto, tty, plain, json or quiet.",
)
@click.option(
    "--ansi",
    type=click.Choice(["never", "always", "auto"]),
    default="auto",
    envvar="COMPOSE_ANSI",
    metavar="WHEN",
    help="Colours: never, always or auto.",
)
@click.option("--no-ansi", is_flag=True, hidden=True, help="--ansi never (deprecated).")
@click.option(
    "--parallel",
    type=int,
    default=-1,
    envvar="COMPOSE_PARALLEL_LIMIT",
    metavar="N",
    help="At most N steps at once (-1, 0: no limit).",
)
@click.option("--compatibility", is_flag=True, help="Name containers as Compose 1 did, with '_'.")
@click.option("--all-resources", is_flag=True, hidden=True, help="`config` has what no service uses, too.")
@click.option("--verbose", is_flag=True, help="Print each step of a plan, and why it is there, as it goes.")
@click.option(
    "-v", "--version", is_flag=True, expose_value=False, is_eager=True, callback=_say_version, hidden=True, help=VERSION
)
@click.pass_context
def cli(
    context: click.Context,
    /,
    progress: str,
    ansi: str,
    no_ansi: bool,
    parallel: int,
    verbose: bool,
    **choices: Any,
) -> None:
    """Run a compose file on this machine."""
    project = Choices(**choices, launched=context.obj)
    late = _options_of_env_files(context, project)
    import os

    progress, ansi, parallel = (late.get("progress", progress), late.get("ansi", ansi), late.get("parallel", parallel))
    terminal.progress, terminal.ansi = progress, "never" if no_ansi else ansi
    terminal.verbose = verbose
    from pycompose.compose.model.own_variables import switched_on

    approve = (lambda _: True) if switched_on(os.environ.get("PYCOMPOSE_REMOTE")) else terminal.confirmed
    context.obj = replace(project, parallel=parallel if parallel > 0 else None, approve=approve)
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        context.exit(0)
