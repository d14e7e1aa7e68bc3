"""Random compose files: a service with a few attributes in either syntax, what it refers to, and an override of it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

one = st.sampled_from
flag = st.booleans()
duration = one(["5s", "1m30s", "1h", "500ms", "90s", "0s", "1h2m3s", "1.5s", "100us"])
size = one(["50m", "1g", "512k", "1024", "10mb", "1.5g", "2GiB", "0"])
mapping = st.dictionaries(one(["A", "B_C", "com.x.y"]), one(["1", "x y", "", "true", "a=b", "$$x"]), min_size=1)
pairs = mapping | mapping.map(lambda found: [f"{key}={value}" for key, value in found.items()])


def some(*values: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(one(values), min_size=1, max_size=3, unique_by=repr)


def record(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields).filter(bool)


deploy = record(
    mode=one(["replicated", "global"]),
    replicas=one([0, 1, 2]),
    labels=pairs,
    endpoint_mode=one(["vip", "dnsrr"]),
    resources=record(
        limits=record(cpus=one(["0.5", 1, 2.0]), memory=size, pids=one([5])),
        reservations=record(memory=size, cpus=one(["0.25"])),
    ),
    restart_policy=record(
        condition=one(["any", "none", "on-failure"]), delay=duration, max_attempts=one([2]), window=duration
    ),
    update_config=record(parallelism=one([0, 2]), delay=duration, order=one(["start-first"])),
)
build = one([".", "./b", {"context": "https://github.com/a/b.git#main:sub", "tags": ["x"]}]) | record(
    context=one([".", "./c"]),
    args=pairs,
    labels=pairs,
    target=one(["t"]),
    additional_contexts=one([{"a": "./b", "d": "docker-image://x"}]),
    extra_hosts=one([["a=1.2.3.4"]]),
    ulimits=one([{"nofile": 5}]),
    shm_size=size,
    secrets=one([["key", {"source": "other", "target": "z"}]]),
    network=one(["host"]),
    no_cache=flag,
)
ATTRIBUTES: dict[str, st.SearchStrategy[Any]] = {
    "annotations": pairs,
    "labels": pairs,
    "environment": pairs,
    "attach": flag,
    "build": build,
    "cap_add": some("ALL", "NET_ADMIN", "SYS_TIME"),
    "cgroup": one(["host", "private"]),
    "command": one(["a b 'c d'", "", [], ["x", "y z"], None, "sh -c \"echo 'hi'\"", 'a "b\\"c"']),
    "entrypoint": one(["/e", ["/e", "f"], "", [], None]),
    "configs": one([["conf"], [{"source": "conf", "target": "/t", "mode": "0440", "uid": "1"}], [{"source": "more"}]]),
    "secrets": one([["key"], [{"source": "key", "target": "n", "mode": 0o400}], [{"source": "other", "target": "/a"}]]),
    "cpus": one([1, 0.5, "1.5"]),
    "cpu_shares": one([512, "10"]),
    "depends_on": one(
        [
            ["base"],
            {"base": {"condition": "service_started"}},
            {"base": {"condition": "service_completed_successfully", "required": False, "restart": True}},
        ]
    ),
    "deploy": deploy,
    "devices": one([["/dev/a:/dev/b:rw"], ["/dev/a"], [{"source": "/dev/a", "target": "/dev/c", "permissions": "r"}]]),
    "dns": one(["1.1.1.1", ["1.1.1.1", "8.8.8.8"]]),
    "dns_search": one(["x.y", ["a", "b"]]),
    "env_file": one(["one.env", ["one.env", {"path": "absent.env", "required": False}]]),
    "expose": one([["3000"], [3000, "8000-8010/tcp"]]),
    "extra_hosts": one([["a=1.2.3.4", "b:5.6.7.8"], {"a": "1.2.3.4", "c": ["::1", "1.1.1.1"]}, ["x=[::1]"]]),
    "healthcheck": record(
        test=one(["x y", ["CMD", "a"], ["CMD-SHELL", "a b"], ["NONE"]]),
        interval=duration,
        timeout=duration,
        retries=one([1, 5]),
        start_period=duration,
    ),
    "init": flag,
    "ipc": one(["host", "shareable", "service:base"]),
    "links": one([["base"], ["base:alias"]]),
    "logging": record(driver=one(["json-file", "none"]), options=one([{"max-size": "10m"}])),
    "mem_limit": size,
    "mem_reservation": size,
    "networks": one(
        [["front"], {"front": None}, {"front": {"aliases": ["a", "b"], "priority": 10}}, ["front", "back"], {}]
    ),
    "oom_score_adj": one([-500, 0, 10]),
    "pids_limit": one([0, -1, 10]),
    "ports": some(
        "80",
        "8080:80",
        "127.0.0.1:1-3:4-6",
        "9000-9005:90/udp",
        "[::1]:8081:81",
        8000,
        {"target": 80, "published": "8083", "protocol": "udp", "mode": "host"},
        {"target": 90, "published": 8084, "name": "n", "app_protocol": "http", "host_ip": "1.2.3.4"},
        {"target": 70},
    ),
    "post_start": one([[{"command": "a b", "user": "u"}], [{"command": ["x"]}]]),
    "privileged": flag,
    "profiles": one([["some"]]),
    "pull_policy": one(["always", "missing", "if_not_present", "weekly"]),
    "restart": one(["no", "always", "on-failure:3", "unless-stopped"]),
    "scale": one([0, 1, 3]),
    "shm_size": size,
    "stop_grace_period": duration,
    "sysctls": one([{"net.core.somaxconn": 1024}, ["net.core.somaxconn=1024"]]),
    "tmpfs": one(["/run", ["/run", "/tmp:size=1m"]]),
    "tty": flag,
    "ulimits": st.fixed_dictionaries({"nproc": one([10, {"soft": 1, "hard": 2}, {"soft": 3, "hard": 3}])}),
    "volumes": some(
        "data:/a",
        "./x:/b:ro",
        "/c",
        "/etc/hosts:/d:ro,z",
        "~/q:/e",
        "../up:/g:rshared",
        {"type": "bind", "source": "./y", "target": "/h"},
        {"type": "volume", "source": "data", "target": "/i", "volume": {"nocopy": True}},
        {"type": "tmpfs", "target": "/j", "tmpfs": {"size": "1m"}},
        {"type": "image", "source": "img", "target": "/n"},
    ),
    "volumes_from": one([["base"], ["base:ro"], ["container:c:rw"]]),
    "working_dir": one(["/w"]),
    "x-more": one([{"a": [1, "b", None, 1.5]}]),
}
APART = [("scale", "deploy"), ("cpus", "deploy"), ("mem_limit", "deploy"), ("mem_reservation", "deploy")]
APART += [("pids_limit", "deploy"), ("tmpfs", "volumes")]


@st.composite
def files(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file with the services `web` and `base`, and what an override says of `web`."""
    named = draw(st.sets(one(sorted(ATTRIBUTES)), max_size=6))
    over = draw(st.sets(one(sorted(named) or ["tty"]), max_size=3)) | draw(st.sets(one(sorted(ATTRIBUTES)), max_size=3))
    for less, more in APART:
        if more in named | over:
            named, over = named - {less}, over - {less}
    web = {"image": "web", **{key: draw(ATTRIBUTES[key]) for key in sorted(named)}}
    tree = {
        "name": "random",
        "services": {"base": {"image": "base"}, "web": web},
        "networks": {
            "front": draw(one([None, {"driver": "bridge"}, {"name": "z", "internal": True}, {"external": True}])),
            "back": {},
        },
        "volumes": {"data": draw(one([None, {"external": True}, {"driver": "local", "labels": {"a": "b"}}]))},
        "configs": {
            "conf": draw(one([{"file": "./f"}, {"content": "a\nb\n"}, {"external": True}, {"environment": "HOME"}])),
            "more": {"content": "x"},
        },
        "secrets": {"key": draw(one([{"file": "./k"}, {"environment": "HOME"}])), "other": {"file": "~/k"}},
    }
    return tree, {key: draw(ATTRIBUTES[key]) for key in sorted(over)}
