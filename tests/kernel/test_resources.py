"""Networks by hand, inspection of what runs, and removal of what nobody uses."""

from __future__ import annotations

import json

from .service_tools import Described


def test_a_network_by_hand_is_an_external_one_of_projects(project: Described) -> None:
    machine = project.machine
    made = machine.pycompose("network", "create", "--subnet", "10.77.0.0/24", "--label", "a=1", "outer").stdout.strip()
    assert len(made) == 64
    project.describe("""
services: {web: {image: host, command: sleep 1000, init: true, networks: [outer], ports: ["18081:80"]}}
networks: {outer: {external: true}}
""")
    project("up", "-d")
    (network,) = json.loads(machine.pycompose("network", "inspect", "outer").stdout)
    ((container_id, member),) = network["Containers"].items()
    assert (member["Name"], member["IPv4Address"]) == ("p-web-1", "10.77.0.2/24")
    (one,) = json.loads(machine.pycompose("inspect", "p-web-1").stdout)
    assert (one["Id"], one["State"]["Status"]) == (container_id, "running")
    assert one["NetworkSettings"]["IPAddress"] == "10.77.0.2"
    assert one["NetworkSettings"]["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "18081"}]}
    assert one["State"]["Pid"] > 0
    assert machine.pycompose("inspect", "-f", "{{.State.Running}}", container_id[:12]).stdout == "true\n"
    assert machine.pycompose("network", "rm", "outer", check=False).returncode == 1
    assert "\n" not in machine.pycompose("network", "prune", "-f").stdout
    assert "p-web-1" in machine.pycompose("ps", "--all-projects").stdout
    project("down")
    assert machine.pycompose("network", "prune", "-f").stdout == "Deleted Networks:\nouter\n"
    assert machine.pycompose("network", "ls", "-q").stdout == ""


def test_prune_removes_what_has_stopped_in_all_projects_and_nothing_else(project: Described) -> None:
    machine = project.machine
    project.describe("""
services:
  web: {image: host, command: sleep 1000, init: true, volumes: [/anonymous]}
  done: {image: host, command: "true"}
""")
    project("up", "-d", "web")
    project("up", "done")
    machine.pycompose("network", "create", "lonely")
    said = machine.pycompose("system", "prune", "-f", "--volumes").stdout
    assert "Deleted Containers:" in said
    assert "Deleted Networks:\nlonely\n" in said
    assert said.splitlines()[-1].startswith("Total reclaimed space: ")
    assert project.states() == {"web-1": "running"}
    assert len(machine.pycompose("volume", "ls", "-q").stdout.split()) == 1
    project("down", "-v")
    assert machine.pycompose("system", "prune", "-f").stdout == "Total reclaimed space: 0B\n"
