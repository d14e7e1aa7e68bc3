"""What does not fit together is told in one run, with the places that are to blame."""

from __future__ import annotations

from pathlib import Path

import pytest
from pycompose.compose.file.consistency import cycles
from pycompose.compose.file.loader import Loaded, Options, load
from pycompose.compose.model.errors import FileError


def loaded(folder: Path, content: str, *services: str) -> Loaded:
    path = folder / "c.yaml"
    path.write_text(content)
    return load(Options(files=(str(path),), project_name="p"), services)


def problems(folder: Path, content: str) -> list[str]:
    with pytest.raises(FileError) as caught:
        loaded(folder, content)
    return [str(p).replace(f"{folder}/", "") for p in caught.value.problems]


def one(attributes: str) -> str:
    """A file whose service `a` begins its attributes on line 2, column 3."""
    head = "services:\n  a:\n    "
    return f"{head}image: x\n    " + attributes.replace("\n", "\n    ") + "\n  b: {image: x}\n"


POOL = "networks: {n: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "services: {a: {command: x}}",
            'c.yaml:1:15: service "a" has neither an image nor a build context specified: invalid compose project'
            "\nhint: image: host",
        ),
        (
            one("network_mode: host\nnetworks: [n]") + "networks: {n: }",
            "c.yaml:4:19: service a declares mutually exclusive `network_mode` and `networks`: invalid compose project"
            "\nhint: networks are at c.yaml:5:5",
        ),
        (
            one("scale: 2\ndeploy:\n  replicas: 3"),
            "c.yaml:4:12: services.a: can't set distinct values on 'scale' and 'deploy.replicas': "
            "invalid compose project\nhint: they are 2 and 3; the other is at c.yaml:6:17",
        ),
        (
            one("cpus: 1\ndeploy: {resources: {limits: {cpus: 2}}}"),
            "c.yaml:4:11: services.a: can't set distinct values on 'cpus' and 'deploy.resources.limits.cpus': "
            "invalid compose project\nhint: they are 1 and 2; the other is at c.yaml:5:41",
        ),
        (
            one("mem_limit: 1k\ndeploy: {resources: {limits: {memory: 2k}}}"),
            "can't set distinct values on 'mem_limit' and 'deploy.resources.limits.memory'",
        ),
        (
            one("mem_reservation: 1k\ndeploy: {resources: {reservations: {memory: 2k}}}"),
            "'deploy.resources.reservations.memory'",
        ),
        (one("pids_limit: 1\ndeploy: {resources: {limits: {pids: 2}}}"), "'deploy.resources.limits.pids'"),
        (one("scale: -1"), "c.yaml:4:12: services.a.scale: must be greater than or equal to 0"),
        (one("deploy: {replicas: -1}"), "c.yaml:4:24: services.a.deploy.replicas: must be greater than or equal to 0"),
        (
            one("container_name: cc\ndeploy: {replicas: 2}"),
            "c.yaml:4:21: services.a.deploy.replicas: can't set container_name and a as container name must be unique: "
            "invalid compose project\n"
            "hint: deploy.replicas is at c.yaml:5:24",
        ),
        (
            one("depends_on: [bb]"),
            'c.yaml:4:18: service "a" depends on undefined service "bb": invalid compose project'
            '\nhint: did you mean "b"?',
        ),
        (one("depends_on: {bb: {condition: service_started}}"), "c.yaml:4:18: "),
        (one("links: ['bb:c']"), 'c.yaml:4:13: service "a" depends on undefined service "bb": invalid compose project'),
        (
            one("volumes_from: ['bb:ro']"),
            'c.yaml:4:20: service "a" depends on undefined service "bb": invalid compose project',
        ),
        (
            one("network_mode: service:bb"),
            'c.yaml:4:19: service "a" depends on undefined service "bb": invalid compose project',
        ),
        (one("pid: service:bb"), 'c.yaml:4:10: service "a" depends on undefined service "bb": invalid compose project'),
        (one("networks: [n]"), 'c.yaml:4:16: service "a" refers to undefined network n: invalid compose project'),
        (one("networks: {n: }"), 'c.yaml:4:16: service "a" refers to undefined network n: invalid compose project'),
        (
            one("volumes: ['./d:/d', 'v:/v']"),
            'c.yaml:4:25: service "a" refers to undefined volume v: invalid compose project',
        ),
        (
            one("volumes: [{type: volume, source: v, target: /v}]"),
            'c.yaml:4:38: service "a" refers to undefined volume v',
        ),
        (one("configs: [c]"), 'c.yaml:4:15: service "a" refers to undefined config c: invalid compose project'),
        (
            one("secrets: [{source: s}]"),
            'c.yaml:4:24: service "a" refers to undefined secret s: invalid compose project',
        ),
        (one("models: [m]"), 'c.yaml:4:14: service "a" refers to undefined model m: invalid compose project'),
        (
            one("build: {context: ., secrets: [s]}"),
            'service "a" refers to undefined build secret s: invalid compose project',
        ),
        (
            one("build: {additional_contexts: {x: service:bb}}"),
            'c.yaml:4:38: the build of service "a" needs the image of "bb", which is not defined',
        ),
        (
            one("build: {dockerfile: d, dockerfile_inline: i}"),
            'c.yaml:4:47: service "a" declares mutualy exclusive dockerfile and dockerfile_inline: '
            "invalid compose project\nhint: dockerfile is at c.yaml:4:25",
        ),
        (
            one("platform: linux/amd64\nbuild: {platforms: [linux/arm64]}"),
            'c.yaml:5:13: service.build.platforms MUST include service.platform "linux/amd64": invalid',
        ),
        (
            one("healthcheck: {test: [curl, x]}"),
            'c.yaml:4:26: healthcheck.test must start either by "CMD", "CMD-SHELL" or "NONE"\nhint: not "curl"',
        ),
        (
            one("develop: {watch: [{path: p, action: sync}]}"),
            "c.yaml:4:23: services.a.develop.watch: target is required for non-rebuild actions",
        ),
        (one("develop: {watch: [{action: rebuild}]}"), "services.a.develop.watch.0 missing property 'path'"),
        (one("develop: {watch: [{path: p, action: sync+exec, target: t}]}"), "needs exec.command"),
        (
            one("depends_on: {b: {condition: healthy}}"),
            "services.a.depends_on.b.condition value must be one of 'service_started', 'service_healthy'",
        ),
        (
            "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, profiles: [q]}",
            'c.yaml:2:30: service "a" depends on undefined service "b": invalid compose project'
            "\nhint: its profile is not active: --profile q",
        ),
        (
            "services: {a: {image: x}}\nsecrets: {s: {}}",
            "c.yaml:2:14: secrets.s: one of file|environment must be set",
        ),
        (
            "services: {a: {image: x}}\nsecrets: {s: {content: c}}",
            "secrets.s additional properties 'content' not allowed",
        ),
        ("services: {a: {image: x}}\nconfigs: {s: {file: f, content: c}}", "hint: it has file and content"),
        (
            "services: {a: {image: x}}\nvolumes: {n: {external: true, driver: local}}",
            'c.yaml:2:31: volumes.n: conflicting parameters "external" and "driver" specified\n'
            "hint: external is at c.yaml:2:25",
        ),
        (
            one("volumes: ['/a:/x', '/b:/y']\ntmpfs: /y"),
            'mounts two things at "/y"\nhint: the other is at c.yaml:4:24',
        ),
        (one("provider: {options: {}}"), "services.a.provider missing property 'type'"),
        (one("oom_score_adj: 2000"), "must be a whole number from -1000 to 1000"),
        (one("container_name: '-x'"), "services.a.container_name: '-x' does not match pattern"),
        (one("pull_policy: sometimes"), "services.a.pull_policy: 'sometimes' does not match pattern"),
        (one("restart: on-failure:x"), '"restart" of service "a" must be'),
        (one("init: maybe"), "services.a.init: failed to cast to expected type: invalid boolean: maybe"),
        (one("gpus: some"), "gpus"),
        (one("stop_grace_period: 10x"), 'services.a.stop_grace_period: time: invalid duration "10x"'),
        (one("command: 'a \"b'"), '"command" of service "a": No closing quotation'),
        (one("ports: ['80:80:80:80']"), 'c.yaml:4:13: port "80:80:80:80" of service "a" cannot be used'),
        (one("ports: [{target: 99999}]"), '"target" of a port of service "a" must be a port, not "99999"'),
        (one("extra_hosts: ['a=10.0.0.1,x']"), '"x", the address of "a" in "extra_hosts" of service "a", is none'),
        (
            one("scale: 2\nnetworks: {n: {ipv4_address: 10.0.0.5}}") + POOL,
            'c.yaml:5:34: service "a" has 2 replicas, which cannot all have 10.0.0.5',
        ),
        (
            "services: {a: {image: x, networks: &n {n: {ipv4_address: 10.0.0.5}}}, b: {image: x, networks: *n}}\n"
            + POOL,
            'service "b" and service "a" have the same address on network "n"\nhint: both have 10.0.0.5',
        ),
        (one("") + POOL.replace("0/24", "1/24"), "has bits behind its prefix\nhint: it should be 10.0.0.0/24"),
        (one("") + POOL.replace("10.0.0.0/24", "ten"), 'c.yaml:6:32: subnet "ten" of network "n" is not ADDRESS/BITS'),
        (one("") + POOL.replace("24}", "24, gateway: 10.1.0.1}"), 'gateway "10.1.0.1" of network "n" is outside'),
        (
            one("") + POOL.replace("24}", "24, ip_range: 10.0.0.0/16}"),
            'ip_range "10.0.0.0/16" of network "n" is outside',
        ),
        ("services: [a]", "c.yaml:1:11: services must be a mapping"),
        ("services: {a: x}", "services.a must be a mapping"),
        ("services: {'a b': {image: x}}", "services additional properties 'a b' not allowed"),
        ("- a", "c.yaml:1:1: a compose file must be a mapping"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(tmp_path: Path, content: str, said: str) -> None:
    assert said in "\n".join(problems(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "service", "said"),
    [
        (
            "services:\n  a: {image: x, container_name: same}\n  b: {image: x, container_name: same}",
            "b",
            'c.yaml:3:33: services.b: container name "same" is already in use by service a\n'
            "hint: the other is at c.yaml:2:33",
        ),
        (
            one("secrets: [s]") + "secrets: {s: {environment: NONE}}",
            "a",
            'c.yaml:4:15: secret "s" of service "a" is in no variable "NONE"\nhint: set it, or put it into .env',
        ),
        (
            one(r"volumes: ['./d:C:\data']"),
            "a",
            'c.yaml:4:15: target "C:\\data" of service "a" is a path of Windows\n'
            "hint: containers of this machine are Linux's: a target such as /data",
        ),
        (
            one(r"volumes: [{type: bind, source: 'C:\x', target: 'C:\y'}]"),
            "a",
            'c.yaml:4:52: target "C:\\y" of service "a" is a path of Windows\n'
            "hint: containers of this machine are Linux's: a target such as /data",
        ),
        (
            one("network_mode: service:b\nports: [80]"),
            "a",
            'c.yaml:5:12: service "a" has no network of its own, so that it cannot publish ports\n'
            "hint: network_mode is at c.yaml:4:19; publish them where the network is",
        ),
        (
            one("ports: ['7000:80/sctp']"),
            "a",
            'c.yaml:4:12: port 80/sctp of service "a" cannot be published on this machine\nhint: tcp and udp can',
        ),
        (
            one("networks: {n: {ipv4_address: 10.0.0.x}}") + "networks: {n: }",
            "a",
            'c.yaml:4:34: ipv4_address "10.0.0.x" of service "a" is no IPv4 address\nhint: such as 10.5.0.5',
        ),
        (
            one("networks: {n: {ipv4_address: 10.0.0.5/24}}") + POOL,
            "a",
            'c.yaml:4:34: ipv4_address "10.0.0.5/24" of service "a" is no IPv4 address\n'
            "hint: without the prefix: 10.0.0.5",
        ),
        (
            one("networks: {n: {ipv4_address: 10.1.0.5}}") + POOL,
            "a",
            'c.yaml:4:34: ipv4_address "10.1.0.5" of service "a" is outside its network\n'
            'hint: the subnets of network "n" are 10.0.0.0/24',
        ),
        *(
            (
                one(f"networks: {{n: {{ipv4_address: 10.0.0.{last}}}}}") + POOL,
                "a",
                f'c.yaml:4:34: ipv4_address "10.0.0.{last}" of service "a" is the {which} of 10.0.0.0/24, '
                "which no host can have\nhint: those between are up to 10.0.0.254",
            )
            for last, which in ((0, "first"), (255, "last"))
        ),
        (
            one("networks: {n: {ipv6_address: 'fd00::'}}") + POOL.replace("10.0.0.0/24", "'fd00::/64'"),
            "a",
            'c.yaml:4:34: ipv6_address "fd00::" of service "a" is the first of fd00::/64, which no host can have\n'
            "hint: those between are up to fd00::ffff:ffff:ffff:fffe",
        ),
        (
            one("networks: {n: {ipv4_address: 10.0.0.1}}") + POOL,
            "a",
            'c.yaml:4:34: ipv4_address "10.0.0.1" of service "a" is the gateway of 10.0.0.0/24\n'
            'hint: the host has it on network "n"',
        ),
    ],
)
def test_what_only_making_containers_fails_by_is_no_problem_of_the_file(
    tmp_path: Path, content: str, service: str, said: str
) -> None:
    (obstacle,) = loaded(tmp_path, content).project.obstacles
    assert obstacle.service == service
    assert str(obstacle.problem).replace(f"{tmp_path}/", "") == said


def test_an_image_of_the_wrong_type_is_one_problem(tmp_path: Path) -> None:
    assert len(problems(tmp_path, "services: {a: {image: [x]}}")) == 1


def test_a_pair_has_no_first_and_last_address(tmp_path: Path) -> None:
    text = one("networks: {n: {ipv4_address: 10.0.0.0}}") + POOL.replace("0.0/24", "0.0/31")
    assert loaded(tmp_path, text).project.obstacles == ()


def test_a_host_may_have_several_addresses(tmp_path: Path) -> None:
    text = one("extra_hosts: ['a=10.0.0.1,10.0.0.2', 'a:10.0.0.3', 'six=[::1]', 'gw=host-gateway']")
    hosts = loaded(tmp_path, text).project.services["a"].extra_hosts
    assert hosts == (("a", "10.0.0.1"), ("a", "10.0.0.2"), ("a", "10.0.0.3"), ("six", "::1"), ("gw", "host-gateway"))


def test_a_file_without_services_is_one(tmp_path: Path) -> None:
    assert list(loaded(tmp_path, "volumes: {v: }").project.volumes) == ["v"]
    assert not loaded(tmp_path, "services: {}").project.services


def test_a_path_of_windows_stays_as_it_is(tmp_path: Path) -> None:
    tree = loaded(tmp_path, one(r"volumes: ['C:\a:/b', './d:D:\e:ro']")).tree
    assert [(m["source"], m["target"]) for m in tree["services"]["a"]["volumes"]] == [
        (r"C:\a", "/b"),
        (f"{tmp_path}/d", r"D:\e"),
    ]


CYCLE = """\
services:
  a: {image: x, depends_on: [b]}
  b: {image: x, links: [c]}
  c:
    image: x
    network_mode: service:a
  d: {image: x, depends_on: {d: {condition: service_started}}}
"""


def test_services_that_need_each_other_are_told_as_a_path_with_places(tmp_path: Path) -> None:
    assert problems(tmp_path, CYCLE) == [
        "c.yaml:2:30: dependency cycle detected: a -> b -> c -> a\nhint: take one of these away: "
        "a needs b at c.yaml:2:30, b needs c at c.yaml:3:25, c needs a at c.yaml:6:19",
        "c.yaml:7:30: dependency cycle detected: d -> d\nhint: take one of these away: d needs d at c.yaml:7:30",
    ]


def test_the_search_for_cycles_is_linear_and_does_not_recurse() -> None:
    chain = {str(n): [str(n + 1)] for n in range(20_000)} | {"20000": []}
    assert list(cycles(chain)) == []
    chain["20000"] = ["0"]
    (path,) = cycles(chain)
    assert (len(path), path[0], path[-1]) == (20_002, "0", "0")
    everyone = {str(n): [str(m) for m in range(60)] for n in range(60)}
    assert len(list(cycles(everyone))) == 10, "a knot is not told in all its ways"


def test_every_problem_of_a_file_is_told_at_once_in_its_order(tmp_path: Path) -> None:
    content = one("imagee: y\nmem_limit: lots\ndepends_on: [bb]\nports: [x]") + "networks: {n: {drivr: x}}\n"
    assert [text.split(": ")[0] for text in problems(tmp_path, content)] == [
        "c.yaml:4:5",
        "c.yaml:5:16",
        "c.yaml:6:18",
        "c.yaml:7:13",
        "c.yaml:9:16",
    ]


def test_services_whose_profile_is_not_active_are_not_judged(tmp_path: Path) -> None:
    content = "services: {a: {image: x}, b: {profiles: [q], image: x, depends_on: [c], volumes: ['v:/v'], env_file: e}}"
    assert set(loaded(tmp_path, content).project.disabled_services) == {"b"}
    with pytest.raises(FileError, match="depends on undefined service"):
        loaded(tmp_path, content, "b")


def test_a_dependency_that_is_not_required_may_be_missing_or_not_active(tmp_path: Path) -> None:
    content = (
        "services: {a: {image: x, depends_on: {b: {condition: service_started, required: false}}},"
        " b: {image: x, profiles: [q]}}"
    )
    assert list(loaded(tmp_path, content).project.services) == ["a"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (one("network_mode: host\nports: [80]"), 'ports of service "a" have no effect with network_mode host'),
        (one("healthcheck: {test: x, start_interval: 1s}"), "no effect without start_period"),
        (one("init: yes"), '"init" of service "a" is "yes", which YAML 1.2 takes for text; it is read as true'),
        (one("userns_mode: private"), '"userns_mode" of service "a" is not acted on'),
        (one("") + "networks: {n: {driver: macvlan}}", 'driver "macvlan" of network "n" is not there'),
        (one("") + "networks: {n: {ipam: {driver: dhcp}}}", 'driver "dhcp" of "ipam" of network "n" is not there'),
        (one("volumes: ['/a:/b:shiny']"), 'option "shiny" of a volume of service "a" is not known'),
        (
            "services: {a: {image: x, ports: ['80:80']}, b: {image: x, ports: ['80:81']}}",
            'service "b" publishes port 80/tcp, which service "a" does too',
        ),
    ],
)
def test_what_is_odd_is_a_warning(tmp_path: Path, content: str, said: str) -> None:
    assert said in "\n".join(str(w) for w in loaded(tmp_path, content).warnings)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("services: {a: {image: x, group_add: [g, h, g]}}", "c.yaml:1:44"),
        ("services: {a: {image: x, mem_reservation: 1.5}}", "c.yaml:1:43"),
        ("services: {a: {image: x, stop_grace_period: '10'}}", "c.yaml:1:45"),
        ("services: {a: {image: x, use_api_socket: 'true'}}", "c.yaml:1:42"),
        ("services: {a: {image: x}}\nnetworks: {n: {ipam: {options: {o: 1}}}}", "c.yaml:2:36"),
        ("services: {a: {image: x, env_file: [{path: e, required: false, x-e: 1}]}}", "c.yaml:1:69"),
    ],
)
def test_what_docker_compose_refuses_is_warned_about_at_its_place(tmp_path: Path, content: str, place: str) -> None:
    warned = [str(w) for w in loaded(tmp_path, content).warnings if w.code == "lax"]
    assert len(warned) == 1, warned
    assert f"{place}: " in warned[0]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("services: {a: {image: x}}\nvolumes: {v/w: }", "c.yaml:2:11"),
        ("services: {a: {image: x, deploy: {restart_policy: {max_attempts: -1}}}}", "c.yaml:1:66"),
        ("services: {a: {image: x, ports: ['80:0']}}", "c.yaml:1:34"),
        ("services: {a: {image: x, ports: [{target: 80, host_ip: here}]}}", "c.yaml:1:56"),
        ("services: {a: {image: x, build: {additional_contexts: [c]}}}", "c.yaml:1:56"),
        ("services: {a: {image: x, develop: {watch: [{path: '', action: rebuild}]}}}", "c.yaml:1:36"),
    ],
)
def test_what_has_no_meaning_is_an_error_at_its_place(tmp_path: Path, content: str, place: str) -> None:
    assert [place in problem for problem in problems(tmp_path, content)] == [True], problems(tmp_path, content)
