"""Restart back-off and health of a container: its next state, from what has happened to it.

Rules: pure; time arrives as an argument. Numbers are Docker's: a back-off of 100 ms that doubles up to one minute and
begins anew after a run of 10 s; a failing probe within the start period is not counted.
"""

from __future__ import annotations

from dataclasses import replace

from pycompose.compose.model.observed import HealthProbe, Supervision
from pycompose.compose.model.project import Healthcheck, RestartPolicy
from pycompose.frozen import dataclass

FIRST_DELAY = 0.1
LONGEST_DELAY = 60.0
STEADY_RUN = 10.0
SETTLING = 0.5  # seconds that a container must have run to be ready, where nothing is checked
PROBES_KEPT = 5
MANY_RESTARTS = 3  # after which whoever waits is told of them; then whenever they have doubled


def next_delay(policy: RestartPolicy, previous: float | None, ran: float) -> float:
    """Seconds to wait before the next start, after a run of `ran` seconds."""
    if policy.delay:
        return policy.delay
    if previous is None or ran >= STEADY_RUN:
        return FIRST_DELAY
    return min(previous * 2, LONGEST_DELAY)


def attempts(policy: RestartPolicy, supervision: Supervision, ran: float) -> int:
    """How many attempts count against `max_attempts` after a run of `ran` seconds: none before one that succeeded."""
    return 0 if policy.window and ran >= policy.window else supervision.attempts


def restarts(policy: RestartPolicy, supervision: Supervision, exit_code: int | None, ran: float) -> bool:
    """Whether a container that exited after a run of `ran` seconds is to be started again.

    An exit code that nobody knows counts as a failure.
    """
    if supervision.stop_requested:
        return False
    tries_left = policy.max_attempts is None or attempts(policy, supervision, ran) < policy.max_attempts
    match policy.condition:
        case "no":
            return False
        case "always" | "unless-stopped":
            return tries_left
        case "on-failure":
            return exit_code != 0 and tries_left


def renews(policy: RestartPolicy, supervision: Supervision, ran: float) -> bool:
    """Whether a container that has run for `ran` seconds is to be stopped, and started again, for its health."""
    if supervision.health != "unhealthy" or not policy.unhealthy or supervision.stop_requested:
        return False
    return policy.max_attempts is None or attempts(policy, supervision, ran) < policy.max_attempts


@dataclass(frozen=True, slots=True)
class Probe:
    """A health check with every default filled in; times in seconds."""

    command: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0
    start_interval: float = 5.0


def probe_of(check: Healthcheck | None, inherited: Healthcheck | None = None) -> Probe | None:
    """The probe of a service whose image has the check `inherited`; None where there is none."""
    check = check or inherited
    if check is None or check.disable:
        return None
    base = inherited or Healthcheck()
    test = check.test if check.test is not None else base.test
    if not test or test[0] == "NONE":
        return None
    command = ("/bin/sh", "-c", *test[1:]) if test[0] == "CMD-SHELL" else test[1:] if test[0] == "CMD" else test

    def first(first_choice: float | None, other: float | None, default: float) -> float:
        return first_choice if first_choice else other if other else default  # zero means the default, as in Docker

    return Probe(
        command,
        first(check.interval, base.interval, 30.0),
        first(check.timeout, base.timeout, 30.0),
        int(first(check.retries, base.retries, 3)),
        first(check.start_period, base.start_period, 0.0),
        first(check.start_interval, base.start_interval, 5.0),
    )


def probe_wait(probe: Probe, supervision: Supervision, running_for: float) -> float:
    """Seconds until the next probe."""
    starting = supervision.health == "starting" and running_for < probe.start_period
    return probe.start_interval if starting else probe.interval


def kept(before: Supervision, latest: HealthProbe) -> tuple[HealthProbe, ...]:
    """The runs of its health check that are kept of a container."""
    return (*before.probes[1 - PROBES_KEPT :], latest)


def looping(name: str, supervision: Supervision, exit_code: int | None) -> str:
    """How a container comes and goes, in words; empty of one that was not started again several times."""
    if supervision.restarts < MANY_RESTARTS:
        return ""
    code = "?" if exit_code is None else exit_code
    return f"{name} keeps ending: it was started again {supervision.restarts} times, and exited last with code {code}"


def explanation(name: str, supervision: Supervision) -> str:
    """How the last health check of a container failed, in words; empty where none did."""
    failed = [probe for probe in supervision.probes if probe.exit_code]
    if not failed:
        return ""
    lines = ["".join(c if c.isprintable() else " " for c in line).strip() for line in failed[-1].output.splitlines()]
    said = " / ".join([line for line in lines if line][-3:])[-300:]
    how = "did not end in time" if failed[-1].exit_code < 0 else f"ended with exit code {failed[-1].exit_code}"
    return f"the last health check of {name} {how}" + (f": {said}" if said else "")


def probed(probe: Probe, before: Supervision, passed: bool, running_for: float) -> Supervision:
    """The health after one probe that ended `running_for` seconds after the container's start."""
    if passed:
        return replace(before, health="healthy", failing_streak=0)
    if before.health == "starting" and running_for < probe.start_period:
        return before
    streak = before.failing_streak + 1
    return replace(before, failing_streak=streak, health="unhealthy" if streak >= probe.retries else before.health)
