"""Arguments are read as docker compose's parser reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click
import pytest
from pycompose.compose.cli.command import command
from pycompose.compose.cli.go_arguments import GoArguments, spelled
from pycompose.compose.cli.root import COMMANDS, Root, cli

Run = Callable[..., tuple[int, str, str]]


@command("try")
@click.option("-d", "--detach", is_flag=True)
@click.option("-q", "--quiet", is_flag=True)
@click.option("--remove-orphans", is_flag=True, envvar="REMOVE")
@click.option("--orphans/--no-orphans", default=True)
@click.option("-t", "--timeout", type=int)
@click.option("-e", "--env", multiple=True)
@click.argument("services", nargs=-1)
def attempt(**values: object) -> dict[str, object]:
    return values


def values(*arguments: str) -> dict[str, object]:
    result = attempt.main(list(arguments), standalone_mode=False)
    assert isinstance(result, dict)
    return {name: value for name, value in result.items() if value not in (None, (), False)}


ON = {"orphans": True}


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        (("--detach=true",), ON | {"detach": True}),
        (("--detach=1", "web"), ON | {"detach": True, "services": ("web",)}),
        (("--detach=F",), ON),
        (("-d=true",), ON | {"detach": True}),
        (("-d=false",), ON),
        (("-d", "-d=false"), ON),
        (("-d=false", "-d"), ON | {"detach": True}),
        (("-qd=false",), ON | {"quiet": True}),
        (("-qdt", "3"), ON | {"quiet": True, "detach": True, "timeout": 3}),
        (("-qt=3",), ON | {"quiet": True, "timeout": 3}),
        (("-t-1",), ON | {"timeout": -1}),
        (("-t", "-1", "-d"), ON | {"timeout": -1, "detach": True}),
        (("-e=A=-d", "-e", "-q", "--env=B=1"), ON | {"env": ("A=-d", "-q", "B=1")}),
        (("--orphans=false",), {}),
        (("--orphans=true",), ON),
        (("--", "-d=false"), ON | {"services": ("-d=false",)}),
        (("web", "-d=true"), ON | {"services": ("web",), "detach": True}),
    ],
)
def test_switches_take_values_as_in_go(arguments: tuple[str, ...], read: dict[str, object]) -> None:
    assert values(*arguments) == read


def test_a_switch_that_is_said_to_be_off_is_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOVE", "1")
    assert values() == ON | {"remove_orphans": True}
    assert values("--remove-orphans=false") == ON


def test_what_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(click.UsageError, match='invalid argument "maybe" for "-d, --detach" flag'):
        values("--detach=maybe")
    with pytest.raises(click.UsageError, match='invalid argument "" for "-d, --detach" flag'):
        values("-d=")


def test_what_is_run_inside_is_left_as_it_is() -> None:
    execute = cli.get_command(click.Context(cli), "exec")
    assert execute is not None
    context = execute.make_context("exec", ["-T=true", "web", "ls", "-l=false", "--all=true"])
    assert (context.params["no_tty"], context.params["arguments"]) == (True, ("ls", "-l=false", "--all=true"))


def every_command(group: click.Group, context: click.Context) -> Iterator[click.Command]:
    for name in COMMANDS if group is cli else group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            yield command
        if isinstance(command, click.Group):
            yield from every_command(command, click.Context(command))


def test_every_switch_of_every_command_takes_a_value_and_each_value_may_stand_after_an_equals_sign() -> None:
    assert isinstance(cli, Root)
    assert values("--dry-run=false") == ON
    everyone = [cli, *every_command(cli, click.Context(cli))]
    assert len(everyone) > len(COMMANDS)
    for one in everyone:
        assert isinstance(one, GoArguments), one.name
        parser = one.make_parser(click.Context(one))
        for option in one.params:
            if isinstance(option, click.Option) and option.is_flag == option.is_bool_flag:
                for name in option.opts:
                    word = f"{name}=false" if option.is_bool_flag else f"{name}=0"
                    values_read = parser.parse_args(spelled([word], [option], interspersed=True))[0]
                    assert values_read[option.name] in ((False,) if option.is_flag else ("0", ["0"])), (one.name, name)


def test_exec_takes_the_letters_that_docker_exec_takes_and_says_nothing_of_them(run: Run) -> None:
    for letters in (("-it",), ("-i", "-t"), ("-it=true",), ("--interactive", "--tty"), ("-Ti=false",)):
        code, out, err = run("-p", "x", "exec", *letters, "web", "ls")
        assert (code, out) == (1, "")
        assert err.splitlines()[0].startswith("error: ")
        assert "no effect" not in err


def test_every_command_of_docker_compose_takes_a_dry_run() -> None:
    own = {"image", "volume", "network", "system", "builder"}  # groups of ours
    for name in COMMANDS.keys() - own:
        one = cli.get_command(click.Context(cli), name)
        assert one is None or any("--dry-run" in parameter.opts for parameter in one.params), name
