"""`alpha`: docker compose's experimental commands: a graph in graphviz's words, a compose file of containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import DRY_RUN, Command
from pycompose.compose.cli.go_arguments import GoGroup
from pycompose.compose.cli.output import terminal

if TYPE_CHECKING:
    from pycompose.compose.model.project import Project


class AlphaGroup(GoGroup):
    """`alpha publish` is `publish`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *(("publish",) if self._publish(ctx) else ())])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._publish(ctx) if cmd_name == "publish" else super().get_command(ctx, cmd_name)

    def _publish(self, ctx: click.Context) -> click.Command | None:
        from pycompose.compose.cli.root import cli

        return cli.get_command(ctx, "publish") if isinstance(cli, click.Group) else None


@click.group(cls=AlphaGroup)
@DRY_RUN
def alpha() -> None:
    """Experimental commands of docker compose."""


@alpha.command(name="viz", cls=Command)
@click.option("--image", is_flag=True, help="With the images of services.")
@click.option("--indentation-size", "width", type=int, default=1, metavar="N", help="Tabs or spaces before a line.")
@click.option("--networks", is_flag=True, help="With the networks of services.")
@click.option("--ports", is_flag=True, help="With the published ports of services.")
@click.option("--spaces", is_flag=True, help="Spaces before a line instead of tabs.")
@click.pass_obj
def viz(choices: Choices, image: bool, width: int, networks: bool, ports: bool, spaces: bool) -> None:
    """Print which service depends on which as a graph for graphviz's `dot`. `graph` draws it in the terminal."""
    if width < 0:
        raise click.BadParameter(f"invalid indentation size: {width}", param_hint="--indentation-size")
    terminal.note("viz command is EXPERIMENTAL")
    project = subject.load(choices).project
    indent = (" " if spaces else "\t") * width
    nodes = [f"{indent}{_node(project, name, image, networks, ports)}\n" for name in project.services]
    edges = [
        f'{indent}"{service.name}" -> "{need.service}";\n'
        for service in project.services.values()
        for need in service.depends_on
        if need.service in project.services
    ]
    head = f'digraph "{project.name}" {{\n{indent}layout=dot;\n'
    terminal.say(f"{head}{''.join(nodes)}\n{''.join(edges)}}}\n")


def _node(project: Project, name: str, image: bool, networks: bool, ports: bool) -> str:
    from html import escape

    from pycompose.compose.file.canonical import port_tree

    service = project.services[name]
    parts: list[tuple[str, list[str]]] = []
    if networks and service.networks:
        ranked = sorted(service.networks, key=lambda joined: -joined.priority)
        parts.append(("Networks", [joined.network for joined in ranked]))
    if ports and service.ports:
        parts.append(("Ports", [_port(port_tree(port)) for port in service.ports]))
    if image:
        parts.append(("Image", [service.image or project.own_image(name)]))
    label = f'<font point-size="15">{escape(name)}</font>'
    for title, lines in parts:
        text = "".join(f"<br/>{escape(line)}" for line in lines)
        label += f'<font point-size="10"><br/><br/><b>{title}:</b>{text}</font>'
    return f'"{name}" [style="filled" label=<{label}>];'


def _port(port: dict[str, Any]) -> str:
    host = f"{port['host_ip']}:" if port.get("host_ip") else ""
    return f"{host}{port.get('published', '')}:{port['target']} ({port['protocol']}, {port['mode']})"


@alpha.command(name="generate", cls=Command)
@click.option(
    "--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", help="yaml (the default) or json."
)
@click.option("--name", default="", metavar="NAME", help="The project's name in the file.")
@click.option("--project-dir", "folder", default="", metavar="FOLDER", help="Where the file will be.")
@click.argument("containers", nargs=-1)
def generate(form: str, name: str, folder: str, containers: tuple[str, ...]) -> None:
    """Print a compose file of containers, named by their names or ids."""
    from pycompose.compose.app import generated_file
    from pycompose.compose.app.image_store import translated_errors
    from pycompose.compose.file import show
    from pycompose.runtime.places import Places

    terminal.note("generate command is EXPERIMENTAL")
    if not containers:
        raise click.UsageError("at least one container must be specified")
    with translated_errors():
        tree = generated_file.of_containers(Places.default(), containers, name=name, folder=folder)
    terminal.say(show.to_json(tree) if form == "json" else show.to_yaml(tree))
