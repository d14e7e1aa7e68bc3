"""When a container that ended is started again, and after how long."""

from __future__ import annotations

import pytest
from pycompose.compose.model.deployment import Deploy, DeployRestart
from pycompose.compose.model.observed import Supervision
from pycompose.compose.model.project import RestartPolicy, Service
from pycompose.compose.plan import lifecycle

ALWAYS, FAILURE = RestartPolicy("always"), RestartPolicy("on-failure")


@pytest.mark.parametrize(
    ("policy", "attempts", "code", "ran", "again"),
    [
        (RestartPolicy(), 0, 1, 1.0, False),
        (ALWAYS, 99, 0, 1.0, True),
        (RestartPolicy("unless-stopped"), 99, 1, 1.0, True),
        (FAILURE, 99, 1, 1.0, True),
        (FAILURE, 0, 0, 1.0, False),
        (FAILURE, 0, None, 1.0, True),
        (RestartPolicy("on-failure", 2), 1, 1, 1.0, True),
        (RestartPolicy("on-failure", 2), 2, 1, 1.0, False),
        (RestartPolicy("always", 2), 1, 0, 1.0, True),
        (RestartPolicy("always", 2), 2, 0, 1.0, False),
        (RestartPolicy("on-failure", 2, window=5.0), 2, 1, 4.0, False),
        (RestartPolicy("on-failure", 2, window=5.0), 2, 1, 5.0, True),
    ],
)
def test_who_is_started_again(policy: RestartPolicy, attempts: int, code: int | None, ran: float, again: bool) -> None:
    before = Supervision(restarts=attempts, attempts=attempts)
    assert lifecycle.restarts(policy, before, code, ran) is again
    assert not lifecycle.restarts(policy, Supervision(stop_requested=True), code, ran)


def test_a_run_as_long_as_the_window_takes_earlier_attempts_back() -> None:
    policy = RestartPolicy("always", 3, window=5.0)
    assert lifecycle.attempts(policy, Supervision(attempts=2), 5.0) == 0
    assert lifecycle.attempts(policy, Supervision(attempts=2), 4.9) == 2
    assert lifecycle.attempts(ALWAYS, Supervision(attempts=2), 1e6) == 2, "without a window every attempt counts"


def test_the_wait_doubles_unless_the_file_says_how_long_it_is() -> None:
    waits, wait = [], None
    for _ in range(12):
        wait = lifecycle.next_delay(ALWAYS, wait, ran=1.0)
        waits.append(wait)
    assert waits[:3] == [0.1, 0.2, 0.4]
    assert waits[-1] == 60.0
    assert lifecycle.next_delay(ALWAYS, 60.0, ran=10.0) == 0.1
    assert lifecycle.next_delay(RestartPolicy("always", delay=5.0), 60.0, ran=1.0) == 5.0


@pytest.mark.parametrize(
    ("deployed", "policy"),
    [
        (None, RestartPolicy("always")),
        (DeployRestart("none"), RestartPolicy("no")),
        (DeployRestart("any"), RestartPolicy("always")),
        (DeployRestart(), RestartPolicy("always")),
        (DeployRestart("on-failure", 2.0, 3, 4.0), RestartPolicy("on-failure", 3, 2.0, 4.0)),
        (DeployRestart("on-failure", 0.0, 0, 0.0), RestartPolicy("on-failure")),
    ],
)
def test_what_deploy_says_of_restarts_is_before_what_restart_says(
    deployed: DeployRestart | None, policy: RestartPolicy
) -> None:
    service = Service("web", restart=ALWAYS, deploy=Deploy(restart_policy=deployed))
    assert service.restart_policy == policy
