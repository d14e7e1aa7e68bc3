"""Plans, as text: what each command makes of a project and of what exists."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pycompose.compose.model.errors import FileError, Obstacle, Problem
from pycompose.compose.model.observed import Observed, ObservedContainer, ObservedNetwork, ObservedVolume
from pycompose.compose.model.project import Attachment, Dependency, Network, Project, Service, Volume, VolumeMount
from pycompose.compose.plan import commands, reconcile
from pycompose.compose.plan.graph import CycleError
from pycompose.compose.plan.reconcile import UpOptions
from pycompose.compose.plan.steps import render
from pycompose.errors import Place, PycomposeError

NET = Network("net", "p_net", config_hash="n1")
ON_NET = (Attachment("net"),)
DB = Service("db", networks=ON_NET, config_hash="d1", hash_parts={"image": "1"})
WEB = Service("web", networks=ON_NET, config_hash="w1", depends_on=(Dependency("db", "service_healthy", True),))
PROJECT = Project("p", "/", (), services={"web": WEB, "db": DB}, networks={"net": NET})


def there(service: Service, number: int = 1, status: str = "running", **more: object) -> ObservedContainer:
    given = {
        "id": f"{service.name}{number}".ljust(64, "0"),
        "name": f"p-{service.name}-{number}",
        "config_hash": service.config_hash,
        "hash_parts": service.hash_parts,
        "networks": ("p_net",),
        "depends_on": tuple((d.service, d.condition, d.restart) for d in service.depends_on),
    } | more
    return ObservedContainer(service=service.name, number=number, status=status, **given)  # type: ignore[arg-type]


def seen(*containers: ObservedContainer, network: str = "n1") -> Observed:
    return Observed("p", containers, (ObservedNetwork("p_net", "net", network),))


def test_up_of_nothing_makes_the_network_then_each_service_after_what_it_needs() -> None:
    assert (
        render(reconcile.up(PROJECT, Observed("p")))
        == """\
create network p_net  (no such network)
create p-db-1  (no such container)
    after create network p_net
start p-db-1  (no such container)
    after create p-db-1
await db healthy  (depends_on)
    after start p-db-1
create p-web-1  (no such container)
    after create network p_net
start p-web-1  (no such container)
    after create p-web-1, await db healthy
"""
    )


def test_up_of_what_runs_has_nothing_to_do() -> None:
    assert render(reconcile.up(PROJECT, seen(there(DB), there(WEB)))) == ""


def test_a_changed_service_is_made_anew_and_dependents_with_restart_are_started_again() -> None:
    changed = replace(DB, config_hash="d2", hash_parts={"image": "2"})
    project = replace(PROJECT, services={"web": WEB, "db": changed})
    text = render(reconcile.up(project, seen(there(DB), there(WEB))))
    assert "create db1000000000_p-db-1  (configuration changed: image)" in text
    assert "rename db1000000000_p-db-1" in text
    assert "stop p-web-1  (db is made anew)" in text
    assert "start p-web-1  (db is made anew)" in text


def test_a_changed_image_makes_anew() -> None:
    old = there(DB, image_digest="sha256:1")
    options = reconcile.UpOptions(services=("db",), images={"db": "sha256:2"})
    assert "(image changed)" in render(reconcile.up(PROJECT, seen(old), options))


def test_scaling_down_removes_the_highest_numbers_first_and_up_again_fills_them() -> None:
    three = seen(there(DB), *(there(WEB, n) for n in (1, 2, 3)))
    text = render(reconcile.scale(PROJECT, three, {"web": 1}, reconcile.UpOptions(no_deps=True)))
    assert text.splitlines()[0] == "stop p-web-3  (scale down)"
    assert "p-web-1" not in text
    text = render(reconcile.scale(PROJECT, seen(there(DB), there(WEB)), {"web": 3}))
    assert "create p-web-2  (scale up)" in text
    assert "create p-web-3  (scale up)" in text


def test_scaling_down_removes_the_named_ones_and_the_others_keep_their_numbers() -> None:
    four = seen(there(DB), *(there(WEB, n) for n in (1, 2, 3, 4)))
    options = reconcile.UpOptions(no_deps=True, remove=("web-2", "p-web-3"))
    text = render(reconcile.scale(PROJECT, four, {"web": 2}, options))
    assert [line for line in text.splitlines() if not line.startswith(" ")] == [
        "stop p-web-3  (scale down)",
        "remove p-web-3  (scale down)",
        "stop p-web-2  (scale down)",
        "remove p-web-2  (scale down)",
    ]


def test_a_named_one_goes_though_as_many_stay_and_a_new_one_comes_for_it() -> None:
    two = seen(there(DB), there(WEB, 1), there(WEB, 2))
    text = render(reconcile.scale(PROJECT, two, {"web": 2}, reconcile.UpOptions(no_deps=True, remove=("web-1",))))
    assert "remove p-web-1  (scale down)" in text
    assert "create p-web-3  (scale up)" in text
    assert "p-web-2" not in text
    text = render(reconcile.scale(PROJECT, two, {"web": 2}, reconcile.UpOptions(no_deps=True, remove=("web-2",))))
    assert "create p-web-2  (scale up)\n    after remove p-web-2" in text


@pytest.mark.parametrize("name", ["web-7", "db-1", "eb-1", "2", "p-web", ""])
def test_a_named_one_that_is_not_there_is_an_error(name: str) -> None:
    two = seen(there(DB), there(WEB, 1), there(WEB, 2))
    with pytest.raises(PycomposeError, match="no such container of a service that is scaled"):
        reconcile.scale(PROJECT, two, {"web": 1}, reconcile.UpOptions(no_deps=True, remove=(name,)))


def test_a_changed_network_is_made_anew_and_its_containers_are_started_again_not_made_anew() -> None:
    assert (
        render(reconcile.up(PROJECT, seen(there(DB), there(WEB), network="old"), reconcile.UpOptions(services=("db",))))
        == """\
stop p-db-1  (network p_net changed)
stop p-web-1  (network p_net changed)
remove network p_net  (configuration changed)
    after stop p-db-1, stop p-web-1
create network p_net  (configuration changed)
    after remove network p_net
start p-db-1  (network p_net changed)
    after stop p-db-1, create network p_net
start p-web-1  (network p_net changed)
    after stop p-web-1, create network p_net
"""
    )


@pytest.mark.parametrize("old_is_there", [True, False])
def test_a_recreation_that_broke_off_is_cleared_up(old_is_there: bool) -> None:
    left = there(DB, status="created", id="f" * 64, name="db1000000000_p-db-1")
    text = render(reconcile.up(PROJECT, seen(left, *([there(DB)] if old_is_there else []), there(WEB))))
    if old_is_there:
        assert text == "remove db1000000000_p-db-1  (left over from a recreation that broke off)\n"
    else:
        assert "rename db1000000000_p-db-1  (takes the name p-db-1)" in text
        assert "start p-db-1  (not running: created)\n    after rename db1000000000_p-db-1" in text


def test_a_volume_whose_file_changed_is_kept_and_told_of() -> None:
    service = replace(DB, mounts=(VolumeMount("data", "/data"),))
    project = replace(PROJECT, services={"db": service}, volumes={"data": Volume("data", "p_data", config_hash="v2")})
    observed = replace(seen(there(service)), volumes=(ObservedVolume("p_data", "data", "v1"),))
    plan = reconcile.up(project, observed)
    assert plan.steps == ()
    assert "p_data is kept" in plan.warnings[0]


def test_start_waits_for_the_conditions_of_what_it_starts() -> None:
    text = render(commands.start(PROJECT, seen(there(DB, status="exited"), there(WEB, status="exited"))))
    assert "await db healthy  (depends_on)\n    after start p-db-1" in text
    assert text.index("await db healthy") < text.index("start p-web-1")


def test_start_of_a_service_starts_what_it_depends_on_and_waits_for_what_runs() -> None:
    text = render(commands.start(PROJECT, seen(there(DB, status="exited"), there(WEB, status="exited")), ("web",)))
    assert "start p-db-1" in text
    assert "start p-web-1  (not running: exited)\n    after start p-db-1, await db healthy" in text
    text = render(commands.start(PROJECT, seen(there(DB), there(WEB, status="exited")), ("web",)))
    assert "start p-db-1" not in text
    assert "start p-web-1  (not running: exited)\n    after await db healthy" in text


def test_start_refuses_what_has_no_container() -> None:
    with pytest.raises(PycomposeError, match='service "web" has no container to start'):
        commands.start(PROJECT, seen(there(DB)), ("web",))
    with pytest.raises(PycomposeError, match="web is missing dependency db"):
        commands.start(PROJECT, seen(there(WEB, status="exited")), ("web",))


def test_start_that_waits_waits_for_what_runs_already() -> None:
    plan = commands.start(PROJECT, seen(there(DB), there(WEB)), ("web",), wait=True, timeout=3)
    assert [step.id for step in plan.steps] == ["wait for db", "wait for web", "confirm all"]
    assert plan.timeout == 3


def test_restart_stops_dependents_first_and_starts_them_last() -> None:
    text = render(commands.restart(PROJECT, seen(there(DB), there(WEB)), ("db",)))
    assert text.index("stop p-web-1") < text.index("stop p-db-1") < text.index("start p-db-1")
    assert "start p-web-1  (restart)\n    after stop p-web-1, start p-db-1, await db healthy" in text


def test_down_goes_in_reverse_and_takes_the_network_last() -> None:
    lines = [line for line in render(commands.down(None, seen(there(DB), there(WEB)))).splitlines() if line[0] != " "]
    assert lines == [
        "stop p-web-1  (down)",
        "remove p-web-1  (down)",
        "stop p-db-1  (down)",
        "remove p-db-1  (down)",
        "remove network p_net  (down)",
    ]


OBSTACLE = Obstacle("web", Problem('secret "s" is in no variable "S"', Place("c.yaml", 3, 4)))


def test_what_the_file_says_of_containers_that_nobody_can_make_fails_the_plan_that_makes_them() -> None:
    project = replace(PROJECT, obstacles=(OBSTACLE,))
    with pytest.raises(FileError, match=r"c\.yaml:3:4: secret"):
        reconcile.up(project, Observed("p"))
    with pytest.raises(FileError, match=r"c\.yaml:3:4: secret"):
        reconcile.up(project, seen(there(DB), there(WEB, config_hash="old")))
    assert reconcile.up(project, Observed("p"), UpOptions(services=("db",))).steps
    assert not reconcile.up(project, seen(there(DB), there(WEB))).steps
    assert not commands.stop(project, seen(there(DB, status="exited"))).steps


def test_two_services_of_one_name_are_in_each_others_way_only_where_both_have_containers() -> None:
    project = replace(PROJECT, obstacles=(replace(OBSTACLE, service="db", beside="web"),))
    assert reconcile.up(project, Observed("p"), UpOptions(services=("db",))).steps
    with pytest.raises(FileError):
        reconcile.up(project, Observed("p"))
    with pytest.raises(FileError):
        reconcile.up(project, seen(there(WEB)), UpOptions(services=("db",)))


def test_a_circle_of_services_is_told_as_a_path() -> None:
    a, b = Service("a", depends_on=(Dependency("b"),)), Service("b", depends_on=(Dependency("a"),))
    with pytest.raises(CycleError, match="a -> b -> a"):
        reconcile.up(Project("p", "/", (), services={"a": a, "b": b}), Observed("p"))


def test_what_this_command_has_started_and_has_ended_is_not_started_again() -> None:
    ended = there(DB, status="exited", started=1.0, exit_code=0)
    project = replace(PROJECT, services={"db": DB})
    assert "start p-db-1" in render(reconcile.up(project, seen(ended)))
    assert render(reconcile.up(project, seen(ended), UpOptions(ended=frozenset({ended.id})))) == ""
