"""What a service says in its file is what its process gets, as seen from inside."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

from pycompose.runtime.images import host_image

from .service_tools import Described, until


def test_user_groups_folder_environment_and_arguments(project: Described) -> None:
    project.file.with_name("more.env").write_text("FROM_FILE=file\nBOTH=file\n")
    project.describe("""
services:
  numbers: {image: host, user: "1000:1001", group_add: [5, "audio"], command: ["sh", "-c", "id -u; id -g; id -G"]}
  name: {image: host, user: nobody, command: ["sh", "-c", "id -un; echo $$HOME"]}
  folder: {image: host, working_dir: /made/for/it, command: pwd}
  variables:
    image: host
    env_file: more.env
    environment: ["BOTH=own", 'QUOTED="q"', "EMPTY=", UNSET_ANYWHERE, PYCOMPOSE_CGROUP]
    command:
      - sh
      - -c
      - echo "$$FROM_FILE $$BOTH $$QUOTED [$$EMPTY] [$${UNSET_ANYWHERE-unset}] $$PYCOMPOSE_CGROUP"; echo $$PATH
  words: {image: host, command: printf '%s|' "a  b" c\\ d $$HOME}
  both: {image: host, entrypoint: ["printf", "%s|"], command: ["a", "b c"]}
  shell: {image: host, entrypoint: sh -c, command: ["echo $$0 $$1", "zero", "one"]}
  alone: {image: host, entrypoint: ["echo", "alone"]}
""")
    said = project.said()
    audio = next(
        line.split(":")[2] for line in Path("/etc/group").read_text().splitlines() if line.startswith("audio:")
    )
    assert said["numbers"] == ["1000", "1001", f"1001 5 {audio}"]
    assert said["name"][0] == "nobody"
    assert said["folder"] == ["/made/for/it"]
    tree = project.machine.environment["PYCOMPOSE_CGROUP"]
    assert said["variables"] == [
        f'file own "q" [] [unset] {tree}',
        host_image.path().removeprefix("PATH="),
    ]
    assert said["words"] == ["a  b|c d|$HOME|"]
    assert said["both"] == ["a|b c|"]
    assert said["shell"] == ["zero one"]
    assert said["alone"] == ["alone"]


def test_names_and_hosts(project: Described) -> None:
    project.describe("""
services:
  named:
    image: host
    hostname: here
    domainname: example.org
    extra_hosts: ["other=10.1.2.3", "six=::1", "gate=host-gateway"]
    command: ["sh", "-c", "cd /proc/sys/kernel; cat hostname domainname /etc/hostname /etc/hosts; ip route"]
  unnamed:
    image: host
    command: ["sh", "-c", "hostname; echo $$HOSTNAME; cat /etc/hostname; grep -c $$HOSTNAME /etc/hosts"]
""")
    said = project.said()
    assert said["named"][:3] == ["here", "example.org", "here"]
    hosts = [line.split() for line in said["named"]]
    assert ["10.1.2.3", "other"] in hosts
    assert ["::1", "six"] in hosts
    gateway = next(words[2] for words in hosts if words[:2] == ["default", "via"])
    assert [gateway, "gate"] in hosts
    assert any("here" in words and "here.example.org" in words for words in hosts)
    assert len(set(said["unnamed"][:3])) == 1
    assert len(said["unnamed"][0]) == 12
    assert said["unnamed"][3] == "1"


def test_tmpfs_read_only_and_shared_memory(project: Described) -> None:
    project.describe("""
services:
  tmpfs:
    image: host
    tmpfs: ["/scratch:size=1m,mode=700", /other]
    command:
      - sh
      - -c
      - |
        stat -f -c %T /scratch /other; stat -c %a /scratch; df -k --output=size /scratch | tail -1
        grep -c ' /other .*noexec' /proc/mounts
  read_only:
    image: host
    read_only: true
    tmpfs: /tmp
    volumes: [data:/data]
    command: ["sh", "-c", "touch /here || echo refused; touch /tmp/here /data/here /dev/shm/here && echo taken"]
  shared_memory: {image: host, shm_size: 8m, command: ["sh", "-c", "df -k --output=size /dev/shm | tail -1"]}
volumes: {data: {}}
""")
    said = project.said()
    assert [text.strip() for text in said["tmpfs"]] == ["tmpfs", "tmpfs", "700", "1024", "1"]
    assert "refused" in said["read_only"]
    assert "taken" in said["read_only"]
    assert said["shared_memory"][-1].strip() == "8192"


def test_limits_capabilities_and_kernel_parameters(project: Described) -> None:
    device = str(project.file.with_name("device"))
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(10, 237))  # not among those that every container may use
    project.describe(
        """
x-status: &status ["sh", "-c", "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t' ' '"]
services:
  ulimits:
    image: host
    ulimits: {nofile: {soft: 100, hard: 200}, nproc: 50}
    command: ["bash", "-c", "ulimit -Sn; ulimit -Hn; ulimit -Su; ulimit -Hu"]
  sysctls:
    image: host
    sysctls: {net.core.somaxconn: 200, kernel.msgmax: 9000}
    command: cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax
  usual: {image: host, command: *status}
  none: {image: host, cap_drop: [ALL], command: *status}
  one: {image: host, cap_drop: [ALL], cap_add: [NET_ADMIN], command: *status}
  all: {image: host, privileged: true, command: *status}
  locked: {image: host, security_opt: ["no-new-privileges:true"], command: *status}
  score: {image: host, oom_score_adj: 300, command: cat /proc/self/oom_score_adj}
  device:
    image: host
    devices: ["DEVICE:/dev/own:r"]
    command:
      - python3
      - -c
      - |
        import os
        for way in (os.O_RDONLY, os.O_WRONLY):
            try: os.open("/dev/own", way | os.O_NONBLOCK)
            except PermissionError: print("refused")
            except OSError: print("no such device")
            else: print("taken")
  nodevice: {image: host, command: ["sh", "-c", "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem || echo refused"]}
""".replace("DEVICE", device)
    )
    said = project.said()
    usual = 0xA80425FB
    have = int(re.search(r"CapPrm:\s+(\w+)", Path("/proc/self/status").read_text())[1], 16)  # type: ignore[index]
    assert said["ulimits"] == ["100", "200", "50", "50"]
    assert said["sysctls"] == ["200", "9000"]

    def capabilities(service: str) -> int:
        return int(next(line for line in said[service] if line.startswith("CapEff")).split()[1], 16)

    assert capabilities("usual") == usual & have
    assert "NoNewPrivs: 0" in said["usual"]
    assert "Seccomp: 2" in said["usual"]
    assert capabilities("none") == 0
    assert capabilities("one") == 1 << 12
    assert capabilities("all") == have
    assert "Seccomp: 0" in said["all"]
    assert "NoNewPrivs: 1" in said["locked"]
    assert said["score"] == ["300"]
    assert said["device"][0] in ("taken", "no such device")
    assert said["device"][1:] == ["refused"]
    assert "refused" in said["nodevice"]


def test_resources_are_in_the_control_group(project: Described) -> None:
    project.describe("""
services:
  limited:
    image: host
    mem_limit: 64m
    memswap_limit: 96m
    mem_reservation: 32m
    cpus: 0.5
    cpu_shares: 512
    cpuset: "0"
    pids_limit: 42
    command: sleep 1000
    stop_signal: SIGKILL
  deployed:
    image: host
    deploy: {resources: {limits: {cpus: "0.25", memory: 48M, pids: 17}, reservations: {memory: 16M}}}
    command: sleep 1000
    stop_signal: SIGKILL
""")
    project("up", "-d")

    def files(service: str, *choices: str) -> str:
        """The first of the files that is there."""
        return project.inside(service, f"cd /sys/fs/cgroup; cat {' '.join(choices)} 2>/dev/null | head -1", check=False)

    assert files("limited", "memory/memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert files("deployed", "memory/memory.limit_in_bytes", "memory.max") == str(48 << 20)
    assert files("limited", "cpu/cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert files("deployed", "cpu/cpu.cfs_quota_us", "cpu.max").split()[0] == "25000"
    assert files("limited", "cpu/cpu.shares", "cpu.weight") in ("512", "59", "20")
    assert files("limited", "cpuset/cpuset.cpus", "cpuset.cpus") == "0"
    assert files("limited", "pids/pids.max", "pids.max") == "42"
    assert files("deployed", "pids/pids.max", "pids.max") == "17"
    assert files("limited", "memory/memory.soft_limit_in_bytes", "memory.low") == str(32 << 20)


def test_namespaces_of_the_host_of_another_and_of_its_own(project: Described) -> None:
    project.describe("""
x-names: &names ["sh", "-c", "for n in mnt net pid ipc uts; do readlink /proc/self/ns/$$n; done; exec sleep 1000"]
services:
  base: {image: host, command: *names, ipc: shareable, stop_signal: SIGKILL}
  net: {image: host, command: *names, network_mode: "service:base", stop_signal: SIGKILL}
  pid: {image: host, command: *names, pid: "service:base", stop_signal: SIGKILL}
  ipc: {image: host, command: *names, ipc: "service:base", stop_signal: SIGKILL}
  host: {image: host, command: *names, network_mode: host, pid: host, ipc: host, uts: host, stop_signal: SIGKILL}
  none: {image: host, command: *names, network_mode: none, stop_signal: SIGKILL}
""")
    project("up", "-d")
    kinds = ("mnt", "net", "pid", "ipc", "uts")
    found = {
        name: dict(zip(kinds, project.logs(name), strict=True))
        for name in ("base", "net", "pid", "ipc", "host", "none")
    }
    of_host = {kind: project.machine.run("readlink", f"/proc/self/ns/{kind}").stdout.strip() for kind in kinds}
    for shared in ("net", "pid", "ipc"):
        same = {kind for kind in kinds if found[shared][kind] == found["base"][kind]}
        assert same == {shared}
    assert {kind for kind in kinds if found["host"][kind] == of_host[kind]} == {"net", "pid", "ipc", "uts"}
    assert not {kind for kind in kinds if found["none"][kind] in (of_host[kind], found["base"][kind])}
    assert project.inside("none", "ip -o link | wc -l") == "1"
    assert project.inside("net", "hostname") == project.inside("net", "cat /etc/hostname")
    assert project.inside("net", "getent hosts base | wc -l") == "1"
    assert "sleep" in project.inside("pid", "tr '\\0' ' ' < /proc/1/cmdline")
    project.inside("base", "echo told > /dev/shm/note")
    assert project.inside("ipc", "cat /dev/shm/note") == "told"


def test_networks_names_and_what_may_be_reached(project: Described) -> None:
    project.describe("""
x-sleep: &sleep {image: host, command: sleep 1000, stop_signal: SIGKILL}
services:
  front: {<<: *sleep, networks: {outer: {aliases: [face]}}}
  middle:
    <<: *sleep
    networks: {outer: {}, inner: {aliases: [heart], ipv4_address: 10.77.0.20}}
    links: ["back:behind"]
  back: {<<: *sleep, networks: [inner]}
  asks:
    <<: *sleep
    networks: [outer]
    dns: [192.0.2.1]
    dns_search: [example.org]
    dns_opt: ["ndots:3"]
networks:
  outer: {}
  inner: {internal: true, ipam: {config: [{subnet: 10.77.0.0/24}]}}
""")
    project("up", "-d")

    def address(asker: str, name: str) -> str:
        return project.inside(asker, f"getent ahostsv4 {name} | head -1 | cut -d' ' -f1", check=False)

    assert address("middle", "front") == address("middle", "face") == address("front", "p-front-1") != ""
    assert address("front", "middle") != address("back", "middle") == "10.77.0.20" == address("back", "heart")
    assert address("middle", "behind") == address("middle", "back") != ""
    assert address("front", "behind") == ""
    assert address("front", "back") == ""
    assert address("back", "heart.") == "10.77.0.20"
    assert project.inside("back", "ip route show default") == ""
    assert project.inside("front", "ip route show default") != ""
    assert project.inside("middle", "ls /sys/class/net | grep -c eth") == "2"
    resolver = project.inside("asks", "cat /etc/resolv.conf")
    assert "nameserver 127.0.0.11" in resolver
    assert "search example.org" in resolver
    assert "ndots:3" in resolver


def test_a_terminal_and_an_open_stdin(project: Described) -> None:
    project.describe("""
services:
  terminal: {image: host, tty: true, command: ["sh", "-c", "test -t 0 && test -t 1 && tty; stty size"]}
  plain: {image: host, command: ["sh", "-c", "test -t 1 || echo no terminal; cat; echo end"]}
  open: {image: host, stdin_open: true, command: ["sh", "-c", "timeout 1 cat; echo $$?"]}
""")
    said = project.said()
    assert said["terminal"][0].startswith("/dev/pts/")
    assert said["plain"] == ["no terminal", "end"]
    assert said["open"] == ["124"]


def test_init_reaps_and_forwards(project: Described) -> None:
    project.describe("""
services:
  with:
    image: host
    init: true
    stop_grace_period: 20s
    command: ["sh", "-c", "trap 'echo told; exit 3' TERM; (sleep 0.1 &) ; echo $$$$; while :; do sleep 0.1; done"]
  without: {image: host, command: ["sh", "-c", "echo $$$$; exec sleep 1000"], stop_signal: SIGKILL}
""")
    project("up", "-d")
    until(lambda: project.logs("with") and project.logs("without"))
    assert int(project.logs("with")[0]) > 1
    assert project.logs("without") == ["1"]
    until(lambda: project.inside("with", "grep -l '^State:.Z' /proc/[0-9]*/status | wc -l") == "0")
    project("stop", "with")
    assert project.logs("with")[-1] == "told"
    assert project.ps()["with-1"]["ExitCode"] == 3


def test_a_log_is_no_larger_than_its_file_allows(project: Described) -> None:
    project.describe("""
services:
  talks:
    image: host
    command: ["sh", "-c", "seq 1 30000"]
    logging: {driver: json-file, options: {max-size: 50k, max-file: "2"}}
""")
    project("up", "-d")
    project("wait", "talks")
    kept = project.logs("talks")
    assert kept[-1] == "30000"
    assert kept == [str(number) for number in range(int(kept[0]), 30001)]
    assert 500 < len(kept) < 10_000


def test_what_no_log_is_wanted_of_is_not_kept(project: Described) -> None:
    project.describe("""
services:
  talks: {image: host, command: [sh, -c, "seq 1 30000; exit 3"], logging: {driver: none}}
  other: {image: host, command: echo kept}
""")
    assert "is not there" not in project("up", "-d").stderr
    assert project("wait", "talks", check=False).stdout == "3\n"
    project("wait", "other")
    assert (project.logs("talks"), project.logs("other")) == ([], ["kept"])


def test_configs_and_secrets_are_files_of_the_promised_owner_and_mode(project: Described) -> None:
    project.file.with_name("key.txt").write_text("of a file\n")
    project.describe("""
services:
  reader:
    image: host
    configs: [plain, {source: filed, target: /etc/app.conf, uid: "7", gid: "8", mode: 0440}]
    secrets: [hidden, {source: filed, target: inner, mode: 0400}]
    command:
      - sh
      - -c
      - |
        cat /plain /etc/app.conf /run/secrets/hidden /run/secrets/inner
        stat -c '%u:%g %a' /plain /etc/app.conf /run/secrets/hidden /run/secrets/inner
        echo x >> /plain || echo refused
configs:
  plain: {content: "of the file itself\\n"}
  filed: {file: ./key.txt}
secrets:
  hidden: {environment: PYCOMPOSE_CGROUP}
  filed: {file: ./key.txt}
""")
    said = project.said()["reader"]
    tree = project.machine.environment["PYCOMPOSE_CGROUP"]
    assert said[:2] == ["of the file itself", "of a file"]
    assert f"{tree}of a file" in said
    assert said[3:7] == ["0:0 444", "7:8 440", "0:0 444", "0:0 400"]
    assert "refused" in said


def test_volumes_outlive_their_containers_and_anonymous_ones_are_inherited(project: Described, tmp_path: Path) -> None:
    (tmp_path / "shown").mkdir()
    file = """
services:
  keeper:
    image: host
    environment: {GENERATION: "%s"}
    volumes: [named:/named, /nameless, "./shown:/shown:ro", {type: tmpfs, target: /gone}]
    command: sleep 1000
    stop_signal: SIGKILL
volumes: {named: {}}
"""
    project.describe(file % 1)
    project("up", "-d")
    project.inside("keeper", "echo n > /named/f; echo a > /nameless/f; echo t > /gone/f; echo o > /own")
    assert project.inside("keeper", "touch /shown/f || echo refused").endswith("refused")
    before = project.ps()["keeper-1"]["ID"]
    project("up", "-d")
    assert project.ps()["keeper-1"]["ID"] == before
    project.describe(file % 2)
    project("up", "-d")
    assert project.ps()["keeper-1"]["ID"] != before
    assert project.inside("keeper", "cat /named/f /nameless/f; ls /gone; test -e /own || echo new") == "n\na\nnew"
    project("up", "-d", "--force-recreate", "-V")
    assert project.inside("keeper", "cat /named/f; ls /nameless") == "n"
    project("down", "-t", "0")
    project("up", "-d")
    assert project.inside("keeper", "cat /named/f") == "n"
    project("down", "-v", "-t", "0")
    project("up", "-d")
    assert project.inside("keeper", "ls /named") == ""


def test_only_what_is_named_is_shared_with_another_containers_volumes(project: Described) -> None:
    project.describe("""
services:
  has: {image: host, volumes: [data:/data, /own], command: sleep 1000, stop_signal: SIGKILL}
  takes: {image: host, volumes_from: ["has:ro"], command: sleep 1000, stop_signal: SIGKILL}
volumes: {data: {}}
""")
    project("up", "-d")
    project.inside("has", "echo d > /data/f; echo o > /own/f")
    assert project.inside("takes", "cat /data/f /own/f; touch /data/g || echo refused") == "d\no\nrefused"


def test_labels_and_the_projects_names_are_docker_composes(project: Described) -> None:
    project.describe("""
services:
  web: {image: host, command: sleep 1000, stop_signal: SIGKILL, labels: {a.b: c}}
  own: {image: host, command: sleep 1000, stop_signal: SIGKILL, container_name: mine}
""")
    project("up", "-d", "--scale", "web=2")
    listed = [json.loads(line) for line in project("ps", "--format", "json").stdout.splitlines()]
    assert sorted(item["Name"] for item in listed) == ["mine", "p-web-1", "p-web-2"]
    labels = str(next(item for item in listed if item["Name"] == "p-web-2")["Labels"])
    for part in (
        "com.docker.compose.project",
        "com.docker.compose.service",
        "com.docker.compose.container-number",
        "a.b",
    ):
        assert part in labels
    assert os.path.basename(str(project.file)) in labels
