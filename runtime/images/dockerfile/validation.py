"""Faults of a Dockerfile that its text alone shows: told before anything runs, and by `--check`.

In every stage: flags, and what has a form of its own (HEALTHCHECK, ONBUILD, SHELL, ARG, COPY without a destination). In
the stages that the target needs also ports, signals, modes and mounts, unless a variable is in them: its value may come
from the base image. Whoever carries an instruction out reads it with the same functions.
"""

from __future__ import annotations

from . import config, copying, running
from .errors import BuildError
from .stages import BuildPlan, arguments
from .syntax import Instruction

_EARLY = ("HEALTHCHECK", "ONBUILD", "SHELL")  # take no variables


def validate(plan: BuildPlan) -> None:
    """Raises BuildError."""
    for stage in plan.stages:
        needed = stage.index in plan.order
        for one in stage.instructions:
            try:
                _validate(one, plan.escape, needed=needed)
            except BuildError as error:
                raise error if error.place else one.fail(error.message, error.hint) from None


def _validate(one: Instruction, escape: str, *, needed: bool) -> None:
    match one.word:
        case "RUN" if needed:
            for text in running.run_options(one).get("mount", ()):
                if "$" not in text:
                    running.mount(text, one, {}, escape, "/unknown")
        case "RUN":
            running.flags(one, running.RUN_FLAGS)
        case "COPY" | "ADD":
            options = running.copy_options(one)
            one.words(escape)
            mode = options.get("chmod", [""])[-1]
            if needed and mode and "$" not in mode:
                copying.checked_mode(mode)
            checksum = options.get("checksum", [""])[-1]
            if needed and checksum and "$" not in checksum:
                copying.checked_checksum(checksum)
        case "ARG":
            running.flags(one, {})
            arguments(one)
        case "MAINTAINER" | "WORKDIR":
            running.flags(one, {})
        case _ if one.word in _EARLY or (needed and "$" not in one.rest):
            config.change({}, one, {}, escape, set(), [])
        case _:
            running.flags(one, {})
