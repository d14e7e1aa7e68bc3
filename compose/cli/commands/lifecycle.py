"""The commands that change what exists, but for `up`: each is one plan of `reconcile`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from pycompose.compose.app import locate
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.root import SECONDS, Choices, command

if TYPE_CHECKING:
    from pycompose.compose.model.observed import Observed
    from pycompose.compose.plan.steps import Plan

TIMEOUT = click.option("-t", "--timeout", type=SECONDS, metavar="SECONDS", help="Before a container is killed.")
SERVICES = click.argument("services", nargs=-1)


@command("down")
@click.option("-v", "--volumes", is_flag=True, help="Remove named and anonymous volumes too.")
@click.option(
    "--remove-orphans",
    is_flag=True,
    envvar="COMPOSE_REMOVE_ORPHANS",
    help="Remove containers of services that the file does not have.",
)
@click.option(
    "--rmi",
    type=click.Choice(["local", "all"]),
    help="Remove images too: all, or those that are built and that the file does not name (local).",
)
@TIMEOUT
@SERVICES
@click.pass_obj
def down(
    choices: Choices,
    volumes: bool,
    remove_orphans: bool,
    rmi: str | None,
    timeout: float | None,
    services: tuple[str, ...],
) -> None:
    """Stop and remove containers and networks. Volumes stay, unless -v is given."""
    from pycompose.compose.app import images
    from pycompose.compose.cli import run_plan
    from pycompose.compose.plan import reconcile
    from pycompose.compose.state import observe

    places, known = locate.target(choices, services)
    used = [seen.image for seen in observe.observe(places).containers] if rmi else []
    options = reconcile.DownOptions(services, volumes, remove_orphans, timeout)
    plan = run_plan.run(choices, places, known, lambda seen: reconcile.down(known, seen, options), "down")
    if not plan.steps and not plan.warnings and not choices.dry_run:
        terminal.warn(f"no resource found to remove for project {places.project!r}")
    if not choices.dry_run:
        run_plan.shut_down_if_empty(places)
    for name in images.to_remove(known, used, rmi) if rmi else ():
        if choices.dry_run:
            terminal.note(f"would remove image {name}")
        elif stays := images.remove(name):
            terminal.warn(stays)
        else:
            terminal.note(f" Image {name}  Removed")


@command("scale")
@click.option("--no-deps", is_flag=True, help="Leave out what the services depend on.")
@TIMEOUT
@click.argument("scales", nargs=-1, required=True, metavar="SERVICE=NUM...")
@click.pass_obj
def scale(choices: Choices, no_deps: bool, timeout: float | None, scales: tuple[str, ...]) -> None:
    """Set how many containers services have: `pycompose scale worker=4`."""
    from pycompose.compose.cli import run_plan
    from pycompose.compose.plan import reconcile

    from . import pull

    counts = locate.counts_of(scales)
    places, known = locate.target(choices, tuple(counts))
    wanted = locate.needed(known)
    found = pull.make_ready(choices, wanted, tuple(counts), no_deps=no_deps)
    options = reconcile.UpOptions(no_deps=no_deps, timeout=timeout, images=found)
    run_plan.run(
        choices, places, wanted, lambda seen: reconcile.scale(wanted, seen, counts, options), "scale", keep=True
    )


@command("stop")
@TIMEOUT
@SERVICES
@click.pass_obj
def stop(choices: Choices, timeout: float | None, services: tuple[str, ...]) -> None:
    """Stop containers, and keep them: `start` begins where they were."""
    from pycompose.compose.cli import run_plan

    run_plan.act(choices, services, "stop", services, timeout)


@command("start")
@click.option("--wait", is_flag=True, help="Wait until services run or are healthy.")
@click.option("--wait-timeout", type=SECONDS, metavar="SECONDS", help="How long to wait at most.")
@SERVICES
@click.pass_obj
def start(choices: Choices, wait: bool, wait_timeout: float | None, services: tuple[str, ...]) -> None:
    """Start containers that exist."""
    from pycompose.compose.cli import run_plan
    from pycompose.compose.plan import reconcile

    places, known = locate.target(choices, services)
    run_plan.run(
        choices,
        places,
        known,
        lambda seen: (
            waiting(reconcile.start(known, seen, services), wait_timeout)
            if wait
            else reconcile.start(known, seen, services)
        ),
        "start",
    )


def waiting(plan: Plan, timeout: float | None) -> Plan:
    """The plan, with a wait for every container that it starts."""
    from dataclasses import replace

    from pycompose.compose.plan.steps import AwaitCondition, StartContainer, Step

    started: dict[str, list[Step]] = {}
    names: dict[str, list[str]] = {}
    for step in plan.steps:
        if isinstance(step.action, StartContainer):
            started.setdefault(step.action.service, []).append(step)
            names.setdefault(step.action.service, []).append(step.action.name)
    waits = []
    for service, steps in started.items():
        action = AwaitCondition(service, tuple(names[service]), "running_or_healthy", True, timeout)
        waits.append(Step(f"wait for {service}", action, "--wait", tuple(step.id for step in steps)))
    return replace(plan, steps=(*plan.steps, *waits))


@command("restart")
@click.option("--no-deps", is_flag=True, help="Leave alone what depends on the services.")
@TIMEOUT
@SERVICES
@click.pass_obj
def restart(choices: Choices, no_deps: bool, timeout: float | None, services: tuple[str, ...]) -> None:
    """Stop containers and start them again. A changed file is not looked at: that is `up`."""
    from pycompose.compose.cli import run_plan

    run_plan.act(choices, services, "restart", services, timeout, no_deps)


@command("kill", accepted=("--remove-orphans",))
@click.option("-s", "--signal", "word", default="SIGKILL", metavar="SIGNAL", help="Instead of SIGKILL.")
@SERVICES
@click.pass_obj
def kill(choices: Choices, word: str, services: tuple[str, ...]) -> None:
    """Send containers a signal: SIGKILL, unless -s says another."""
    from pycompose.compose.cli import run_plan

    _check_signal(word)
    run_plan.act(choices, services, "kill", services, word)


def _check_signal(word: str) -> None:
    import signal

    name = word.upper().removeprefix("SIG").partition("+")[0]
    if not name.isdigit() and f"SIG{name}" not in signal.Signals.__members__:
        from difflib import get_close_matches

        near = get_close_matches(f"SIG{name}", signal.Signals.__members__, 1)
        raise click.BadParameter(f"there is no signal {word!r}." + (f" Did you mean {near[0]}?" if near else ""))


@command("pause")
@SERVICES
@click.pass_obj
def pause(choices: Choices, services: tuple[str, ...]) -> None:
    """Freeze containers: they keep their memory and get no time."""
    from pycompose.compose.cli import run_plan

    run_plan.act(choices, services, "pause", services)


@command("unpause")
@SERVICES
@click.pass_obj
def unpause(choices: Choices, services: tuple[str, ...]) -> None:
    """Let frozen containers go on."""
    from pycompose.compose.cli import run_plan

    run_plan.act(choices, services, "unpause", services)


@command("rm", accepted=("-a/--all",))
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("-s", "--stop", "halt", is_flag=True, help="Stop containers that run, and remove them too.")
@click.option("-v", "--volumes", is_flag=True, help="Remove their anonymous volumes too.")
@SERVICES
@click.pass_obj
def rm(choices: Choices, force: bool, halt: bool, volumes: bool, services: tuple[str, ...]) -> None:
    """Remove stopped containers."""
    from pycompose.compose.cli import run_plan
    from pycompose.compose.plan import reconcile
    from pycompose.compose.plan.steps import RemoveContainer
    from pycompose.compose.state import observe

    places, known = locate.target(choices, services)

    def decide(seen: Observed) -> Plan:
        return reconcile.rm(known, seen, services, stop=halt, volumes=volumes)

    plan = decide(observe.observe(places))
    names = [step.action.name for step in plan.steps if isinstance(step.action, RemoveContainer)]
    if not names:
        terminal.note("no stopped containers")
        return
    if not (force or choices.dry_run):
        click.confirm(f"Going to remove {', '.join(names)}\nAre you sure?", abort=True, err=True)
    run_plan.run(choices, places, known, decide, "rm")
