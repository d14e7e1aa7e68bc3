"""inspect, network, volume, system and ps over all projects, from records that lie on the disk."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycompose.compose.model.observed import Label
from pycompose.network.records import Records
from pycompose.network.spec import Endpoint, NetworkRecord
from pycompose.runtime import spec
from pycompose.runtime.images.cache import Cache
from pycompose.runtime.images.store import Store
from pycompose.runtime.places import Places
from pycompose.runtime.state.volumes import Volumes

Run = Callable[..., tuple[int, str, str]]
WEB = "a1" * 32


@pytest.fixture(autouse=True)
def machine(places: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A container of project x with a volume and a network; a network and volumes that nobody uses."""
    monkeypatch.setenv("DOCKER_CONFIG", str(places / "docker"))
    folder = places / "state" / "projects" / "x" / "containers" / WEB
    folder.mkdir(parents=True)
    own = {"image": "host", "networks": ["x_default"], "volumes": {"/data": "x_data"}}
    labels = {Label.PROJECT: "x", Label.SERVICE: "web", Label.NUMBER: "1", "io.pycompose.service": json.dumps(own)}
    state = {"name": "x-web-1", "created": time.time() - 200, "annotations": labels, "image": "host"}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "exit.json").write_text(json.dumps({"code": 3, "finished": time.time() - 90}))
    (folder / "uses.json").write_text(json.dumps({"image": "host", "digest": "", "layers": [], "volumes": ["x_data"]}))
    (folder / "upper").mkdir()
    (folder / "upper" / "file").write_bytes(b"x" * 1000)
    mounts = (
        spec.Mount("/data", "bind", f"{places}/state/volumes/x_data/_data", ("rbind", "rw", "rprivate")),
        spec.Mount("/conf", "bind", "/srv/conf", ("rbind", "rro", "rprivate")),
        spec.Mount("/scratch", "tmpfs", "tmpfs", ("nosuid",)),
        spec.Mount("/proc", "proc", "proc"),
    )
    process = spec.Process(("sleep", "10"), ("A=b",), user=spec.User(7, 8))
    cpu = spec.Resources(cpu=spec.CpuResources(quota=50_000, period=100_000))
    root = spec.LayeredRoot((), f"{folder}/upper", f"{folder}/work")
    bundle = spec.Bundle(spec.Spec(process, hostname="web", mounts=mounts, linux=spec.Linux(resources=cpu)), root)
    (folder / "bundle.json").write_text(spec.to_json(bundle))
    roots = Places.default()
    volumes = Volumes(roots)
    volumes.create("x_data", {Label.PROJECT: "x"})
    volumes.create("spare", {"a": "1"})
    volumes.create("f" * 64, {Label.ANONYMOUS: ""})
    records = Records(roots.networks)
    for number, (name, project) in enumerate((("x_default", "x"), ("lonely", ""))):
        network = NetworkRecord(
            name,
            project,
            f"br-{number}",
            (f"10.{number}.0.0/16",),
            (f"10.{number}.0.1",),
            False,
            1500,
            {"of": project or "nobody"},
            1_700_000_000.0 + number,
            "boot",
        )
        records.keep_network(network)
    names = ("web", "x-web-1", WEB[:12])
    records.keep_lease(
        Endpoint("x_default", WEB, "eth0", ("10.0.0.2/16",), "02:42:0a:00:00:02", "10.0.0.1", names, "x", "pc1")
    )
    return places


def inspected(run: Run, *arguments: str) -> Any:
    code, out, err = run("inspect", *arguments)
    assert (code, err) == (0, "")
    (one,) = json.loads(out)
    return one


@pytest.mark.parametrize("name", ["x-web-1", "/x-web-1", WEB, WEB[:5]])
def test_a_container_has_docker_s_fields(run: Run, name: str) -> None:
    one = inspected(run, name)
    assert (one["Id"], one["Name"], one["Path"], one["Args"]) == (WEB, "/x-web-1", "sleep", ["10"])
    assert (one["State"]["Status"], one["State"]["ExitCode"], one["State"]["Running"]) == ("exited", 3, False)
    assert one["Created"].endswith("Z")
    assert one["State"]["StartedAt"] == "0001-01-01T00:00:00Z"
    assert one["Config"]["Env"] == ["A=b"]
    assert (one["Config"]["User"], one["Config"]["Hostname"]) == ("7:8", "web")
    assert one["Config"]["Labels"][Label.SERVICE] == "web"
    assert "io.pycompose.service" not in one["Config"]["Labels"]
    assert one["HostConfig"]["NanoCpus"] == 500_000_000
    assert one["HostConfig"]["Binds"] == ["/srv/conf:/conf:ro"]
    mounts = {mount["Destination"]: (mount["Type"], mount["RW"]) for mount in one["Mounts"]}
    assert mounts == {"/data": ("volume", True), "/conf": ("bind", False), "/scratch": ("tmpfs", True)}
    place = one["NetworkSettings"]["Networks"]["x_default"]
    assert (place["IPAddress"], place["IPPrefixLen"], place["Gateway"]) == ("10.0.0.2", 16, "10.0.0.1")


def test_kinds_are_looked_through_in_turn_and_what_is_missing_is_said_last(run: Run) -> None:
    assert inspected(run, "lonely")["Driver"] == "bridge"
    assert inspected(run, "spare")["Mountpoint"].endswith("/spare/_data")
    assert inspected(run, "--type", "volume", "x_data")["Labels"] == {Label.PROJECT: "x"}
    code, out, err = run("inspect", "spare", "nope")
    assert (code, [one["Name"] for one in json.loads(out)]) == (1, ["spare"])
    assert err.startswith("error: no such object: nope")
    assert run("inspect", "--type", "network", "spare")[0] == 1
    assert run("inspect", "-f", "{{.State.Status}} {{.NetworkSettings.Networks.x_default.IPAddress}}", "x-web-1")[
        1
    ] == ("exited 10.0.0.2\n")
    assert run("inspect", "-f", "{{index .Config.Labels `com.docker.compose.service`}}", "x-web-1")[1] == "web\n"
    assert "evaluate field" in run("inspect", "-f", "{{.Nope}}", "x-web-1")[2]
    assert inspected(run, "--size", "x-web-1")["SizeRw"] == 1000


def test_networks_are_listed_filtered_and_inspected(run: Run) -> None:
    assert run("network", "ls")[1].splitlines()[0].split() == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    assert run("network", "ls", "--format", "{{.Name}}")[1] == "lonely\nx_default\n"
    for text, names in (
        ("name=lone", ["lonely"]),
        ("label=of=x", ["x_default"]),
        ("label=of", ["lonely", "x_default"]),
        ("dangling=true", ["lonely"]),
        ("dangling=0", ["x_default"]),
        ("driver=overlay", []),
        ("type=builtin", []),
    ):
        assert run("network", "ls", "--filter", text, "--format", "{{.Name}}")[1].split() == names, text
    assert run("network", "ls", "--filter", "colour=red")[0] == 1
    whole = run("network", "ls", "--no-trunc", "-q", "-f", "name=lonely")[1].strip()
    assert len(whole) == 64
    code, out, _ = run("network", "inspect", whole[:10], "x_default")
    lonely, used = json.loads(out)
    assert (code, lonely["Name"], lonely["Id"], lonely["Containers"]) == (0, "lonely", whole, {})
    assert lonely["IPAM"]["Config"] == [{"Subnet": "10.1.0.0/16", "Gateway": "10.1.0.1"}]
    assert used["Containers"][WEB]["Name"] == "x-web-1"
    assert run("network", "inspect", "nope")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-d", "macvlan", "n"), "there is bridge alone"),
        (("-o", "color=red", "n"), "is none of"),
        (("--gateway", "10.9.0.1", "n"), "need the --subnet"),
        (("--subnet", "10.9.0.0/99", "n"), "10.9.0.0/99"),
        (("--subnet", "10.9.0.0/24", "--gateway", "10.8.0.1", "n"), "in none of the subnets"),
        (("lonely",), "already exists"),
    ],
)
def test_a_network_that_cannot_be_made_is_said(run: Run, arguments: tuple[str, ...], words: str) -> None:
    code, out, err = run("network", "create", *arguments)
    assert (code, out) == (1, "")
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--link", "a:b", "lonely", "x-web-1"), "--link is not there"),
        (("--link-local-ip", "169.254.1.1", "lonely", "x-web-1"), "--link-local-ip is not there"),
        (("--driver-opt", "a=b", "lonely", "x-web-1"), "--driver-opt is not there"),
        (("--gw-priority", "1", "lonely", "x-web-1"), "--gw-priority is not there"),
        (("--ip", "fd00::1", "lonely", "x-web-1"), "invalid IPv4 address: fd00::1"),
        (("--ip6", "nope", "lonely", "x-web-1"), "invalid IPv6 address: nope"),
        (("nope", "x-web-1"), "network nope not found"),
        (("lonely", "nope"), "No such container: nope"),
    ],
)
def test_a_connection_that_cannot_be_is_said(run: Run, arguments: tuple[str, ...], words: str) -> None:
    code, out, err = run("network", "connect", *arguments)
    assert (code != 0, out) == (True, "")
    assert words in err


def test_a_connection_is_planned_and_not_made_in_a_dry_run(run: Run) -> None:
    for words in (("connect", "lonely"), ("disconnect", "x_default")):
        way = "to" if words[0] == "connect" else "from"
        plan = f"{words[0]} x-web-1 {way} {words[1]}  (network {words[0]})\n"
        assert run("--dry-run", "network", *words, "x-web-1") == (0, plan, "")
    assert list(inspected(run, "x-web-1")["NetworkSettings"]["Networks"]) == ["x_default"]


def test_a_network_of_a_container_is_kept_whether_it_runs_or_not(run: Run) -> None:
    code, _, err = run("network", "rm", "x_default")
    assert (code, "is used by x-web-1" in err) == (1, True)
    code, _, err = run("network", "rm", "nope")
    assert (code, "network nope not found" in err) == (1, True)
    assert run("network", "rm", "-f", "nope")[0] == 0


def test_volumes_are_filtered_and_pruned(run: Run) -> None:
    for text, names in (
        ("name=spa", ["spare"]),
        ("label=a=1", ["spare"]),
        ("dangling=true", ["f" * 64, "spare"]),
        ("dangling=false", ["x_data"]),
        ("driver=nfs", []),
    ):
        assert run("volume", "ls", "-q", "--filter", text)[1].split() == names, text
    assert run("volume", "prune", "-f")[1].startswith(f"Deleted Volumes:\n{'f' * 64}\n")
    assert run("volume", "ls", "-q")[1].split() == ["spare", "x_data"]
    assert run("volume", "prune", "-f", "-a", "--filter", "label=b")[1] == "Total reclaimed space: 0B\n"
    assert "spare" in run("volume", "prune", "-f", "-a")[1]
    assert run("volume", "ls", "-q")[1].split() == ["x_data"]


def test_the_disk_is_told_of(run: Run, machine: Path) -> None:
    (machine / "state" / "volumes" / "spare" / "_data" / "file").write_bytes(b"y" * 3000)
    rows = {row["Type"]: row for row in map(json.loads, run("system", "df", "--format", "json")[1].splitlines())}
    assert list(rows) == ["Images", "Containers", "Local Volumes", "Build Cache"]
    assert (rows["Containers"]["TotalCount"], rows["Containers"]["Active"]) == ("1", "0")
    assert rows["Containers"]["Reclaimable"] == "1kB (100%)"
    assert (rows["Local Volumes"]["TotalCount"], rows["Local Volumes"]["Active"]) == ("3", "1")
    assert rows["Local Volumes"]["Size"] == "3kB"
    assert run("system", "df")[1].splitlines()[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]


def test_the_disk_is_told_of_thing_by_thing(run: Run, machine: Path) -> None:
    (machine / "state" / "volumes" / "spare" / "_data" / "file").write_bytes(b"y" * 3000)
    lines = run("system", "df", "-v")[1].splitlines()
    titles = [line for line in lines if "usage:" in line]
    assert titles == [
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "Build cache usage: 0B",
    ]
    assert "REPOSITORY   TAG   IMAGE ID   CREATED   SIZE   SHARED SIZE   UNIQUE SIZE   CONTAINERS" in lines
    assert "CACHE ID   CACHE TYPE   SIZE   CREATED   LAST USED   USAGE   SHARED" in lines
    assert ["spare", "0", "3kB"] in [line.split() for line in lines]
    assert ["x_data", "1", "0B"] in [line.split() for line in lines]
    whole = json.loads(run("system", "df", "-v", "--format", "json")[1])
    assert list(whole) == ["Images", "Containers", "Volumes", "BuildCache"]
    (web,) = whole["Containers"]
    assert (web["ID"], web["Names"], web["Size"], web["LocalVolumes"]) == (WEB[:12], "x-web-1", "1kB", "1")
    template = "{{range .Volumes}}{{.Name}}={{.Links}} {{end}}"
    assert run("system", "df", "-v", "--format", template)[1] == f"{'f' * 64}=0 spare=0 x_data=1 \n"
    code, _, err = run("system", "df", "-v", "--format", "{{.Nope}}")
    assert (code != 0, "Images" in err) == (True, True)


def test_an_image_s_layers_are_told_as_shared_and_those_of_builds_apart(run: Run) -> None:
    store = Store(Places.default())
    Path(f"{store.root}/configs").mkdir(parents=True)
    layers = {hex_ * 64: 1000 * number for number, hex_ in enumerate("cde", start=1)}
    for name, size in layers.items():
        Path(store.folder(f"sha256:{name}")).mkdir(parents=True)
        Path(f"{store.folder(f'sha256:{name}')}.json").write_text(json.dumps({"size": size}))
    shared, alone, built = (f"sha256:{name}" for name in layers)
    for name, diff_ids in (("one:1", [shared, alone]), ("two:1", [shared])):
        config = json.dumps(
            {"os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}, "author": name}
        ).encode()
        digest = hashlib.sha256(config).hexdigest()
        Path(f"{store.root}/configs/{digest}.json").write_bytes(config)
        with store.locked():
            store.keep_names({**store.names(), f"docker.io/library/{name}": f"sha256:{digest}"})
    Cache(store).remember("step", {}, [built])
    whole = json.loads(run("system", "df", "-v", "--format", "json")[1])
    sizes = {one["Repository"]: (one["Size"], one["SharedSize"], one["UniqueSize"]) for one in whole["Images"]}
    assert sizes == {"one": ("3kB", "1kB", "2kB"), "two": ("1kB", "1kB", "0B")}
    (cached,) = whole["BuildCache"]
    assert (cached["ID"], cached["Size"], cached["UsageCount"]) == ("e" * 12, "3kB", "1")


def test_ps_knows_all_projects(run: Run, machine: Path) -> None:
    other = machine / "state" / "projects" / "y" / "containers" / ("b2" * 32)
    other.mkdir(parents=True)
    (other / "state.json").write_text(
        json.dumps({"name": "y-db-1", "created": time.time(), "annotations": {Label.SERVICE: "db", Label.NUMBER: "1"}})
    )
    rows = run("ps", "--all-projects", "-a")[1].splitlines()
    assert rows[0].split()[:2] == ["PROJECT", "NAME"]
    assert [row.split()[:2] for row in rows[1:]] == [["x", "x-web-1"], ["y", "y-db-1"]]
    assert run("ps", "--all-projects", "-aq", "db")[1] == "b2" * 32 + "\n"
    assert run("ps", "--all-projects", "-a", "--format", "{{.Project}}")[1] == "x\ny\n"
