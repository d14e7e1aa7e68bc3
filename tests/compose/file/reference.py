"""docs/compose-file.md, made from the tables that the loader reads by and the records that it fills.

`python tests/compose/file/reference.py` writes it; a test compares. What an attribute is, GROUPS tells; what is acted
on and what is only kept is the loader's own.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path

from pycompose.compose.file import build_section, service
from pycompose.compose.model import deployment, develop, image_build, project

PAGE = Path(__file__).resolve().parents[3] / "docs" / "compose-file.md"

GROUPS: dict[str, dict[str, str]] = {
    "Image": {
        "image": "`[registry/]name[:tag][@digest]`; `host` is this machine's own files (see below)",
        "build": "a folder, or a mapping (below); [dockerfile.md](dockerfile.md) tells what comes of each key",
        "pull_policy": "`always`, `never`, `missing`, `build`, `daily`, `weekly`, `every_<n>[wdhms]`",
        "pull_refresh_after": "a duration",
        "platform": "`os[/arch[/variant]]`",
        "container_name": "a name of its own; such a service has one container",
        "scale": "how many containers; `deploy.replicas` says the same",
        "profiles": "the service is there only where one of these is active",
        "extends": "a service, or `{service, file}`: its attributes are taken over",
        "provider": "what runs a service that is no container: `{type, options}` (see below)",
        "models": "a list, or a mapping of `{endpoint_var, model_var}`",
        "credential_spec": "Windows: `{config}`, `{file}` or `{registry}`",
        "isolation": "Windows",
        "runtime": "the name of another OCI runtime",
    },
    "Process": {
        "command": "text (split as a shell would) or a list; null is the image's, empty is none",
        "entrypoint": "as `command`; one that is given puts the image's command away",
        "working_dir": "a folder in the container",
        "user": "`user[:group]`, names or numbers",
        "group_add": "further groups",
        "environment": "a list of `NAME=value` or a mapping; a bare NAME is taken from outside, else it is unset",
        "env_file": "a path, a list of paths, or `{path, required, format}`; what is in it counts for the hash",
        "tty": "a terminal",
        "stdin_open": "stdin stays open",
        "init": "a small init is process 1: it reaps, and passes signals on",
        "attach": "`false`: `up` does not follow its output",
        "stop_signal": "the signal of `stop`; SIGTERM where nobody says",
        "stop_grace_period": "how long until SIGKILL; 10s",
        "restart": "`no`, `always`, `on-failure[:N]`, `unless-stopped`; `deploy.restart_policy` is before it",
        "labels": "a list or a mapping",
        "label_file": "paths of files with labels",
        "annotations": "a list or a mapping",
        "logging": "`{driver, options}`: `max-size` and `max-file` are acted on; `none` keeps and shows no output",
        "ulimits": "a number, or `{soft, hard}`",
        "sysctls": "a list or a mapping",
        "oom_score_adj": "-1000 to 1000",
        "oom_kill_disable": "where the kernel can",
    },
    "Order and health": {
        "depends_on": "a list, or a mapping of `{condition, restart, required}`",
        "links": "`service[:alias]`; the service is a dependency too, and restarts this one with it",
        "external_links": "containers of elsewhere",
        "healthcheck": "`{test, interval, timeout, retries, start_period, start_interval, disable}`",
        "pre_start": "commands in containers of their own, before the first start: also `image`, `per_replica`",
        "post_start": "commands inside, after a start: `{command, user, privileged, working_dir, environment}`",
        "pre_stop": "commands inside, before a stop",
        "develop": "what `watch` does when files change",
        "deploy": "replicas, resources, restart policy (below)",
    },
    "Network": {
        "networks": "a list, or a mapping (below); `default` where nothing is said",
        "network_mode": "`none`, `host`, `bridge`, `service:NAME`, `container:NAME`",
        "ports": "`[[IP:]HOST[-HOST]:]CONTAINER[-CONTAINER][/PROTOCOL]`, or a mapping (below)",
        "expose": "ports, as information",
        "hostname": "the container's own name",
        "domainname": "its domain",
        "mac_address": "of its first network",
        "dns": "name servers to ask",
        "dns_opt": "options of the resolver",
        "dns_search": "domains to search",
        "extra_hosts": "`name=address` or a mapping; `host-gateway` is this machine",
    },
    "Files": {
        "volumes": "`[SOURCE:]TARGET[:OPTIONS]`, or a mapping (below)",
        "tmpfs": "`target[:size=…,mode=…,uid=…,gid=…]`",
        "volumes_from": "`service[:ro]` or `container:NAME[:ro]`",
        "configs": "names, or `{source, target, uid, gid, mode}`; what is in them counts for the hash",
        "secrets": "likewise, below /run/secrets",
        "devices": "`source[:target[:permissions]]`, or a mapping",
        "device_cgroup_rules": "`c 1:3 mr`",
        "gpus": "`all`, or a list of `{driver, count, device_ids, capabilities, options}`",
        "read_only": "the root file system",
        "shm_size": "of /dev/shm",
        "storage_opt": "options of a storage driver",
    },
    "Resources": {
        "cpus": "how many processors' worth of time",
        "cpu_shares": "a weight: 1024 is usual",
        "cpu_period": "microseconds, or a duration",
        "cpu_quota": "likewise",
        "cpu_rt_period": "likewise",
        "cpu_rt_runtime": "likewise",
        "cpu_count": "Windows",
        "cpu_percent": "Windows",
        "cpuset": "`0-3,5`",
        "mem_limit": "bytes, or `50m`, `1.5g`",
        "mem_reservation": "likewise",
        "memswap_limit": "memory and swap together; -1 is without limit",
        "mem_swappiness": "0 to 100",
        "pids_limit": "-1 is without limit",
        "blkio_config": "`{weight, weight_device, device_read_bps, device_write_bps, device_read_iops, …}`",
    },
    "Isolation": {
        "cap_add": "capabilities, or ALL",
        "cap_drop": "likewise",
        "privileged": "all of them, and the host's devices",
        "security_opt": "`seccomp=…`, `apparmor=…`, `no-new-privileges`, …",
        "ipc": "`private`, `shareable`, `host`, `none`, `service:NAME`, `container:NAME`",
        "pid": "`host`, `service:NAME`, `container:NAME`",
        "uts": "`host`",
        "userns_mode": "`host`",
        "cgroup": "`private` or `host`",
        "cgroup_parent": "the project's own control group is the parent",
        "use_api_socket": "Docker's",
    },
}
EMPTY = "○"
ACTED = "✔"

HEAD = """\
# The compose file

What each attribute of the [compose specification](https://github.com/compose-spec/compose-spec) is here:
**✔** acted on, **○** kept: read, checked, shown by `pycompose config`, and told by a warning that nothing comes of it.
A key that the specification does not have is an error with its place; keys that begin with `x-` are kept everywhere.

This page is made by `python tests/compose/file/reference.py` from the tables that files are read by.

`pycompose config` prints a file as docker compose would; `pycompose config --format json` prints what is wrong in it as
JSON, one object a line on stderr, for editors: `severity`, `path`, `line`, `column`, `message`, `hint`, `code`.
`pycompose graph` draws which service waits for which.
"""

OURS = """\
## What is ours

- `image: host`: the machine's own files as an image, copied on write: what a container writes stays in the container.
  What a login or a service keeps secret is not in it: `docs/security.md` says what.
- `x-pycompose`, at the top or in a service, is where extensions of ours live: `follow_links`, `host`,
  `replica_identity`, `restart`.
- A bind source, config or secret in the project's folder is found without leaving that folder: a link that leads out is
  an error, for a container that has a part of the folder mounted could have put it there, to be given any file of the
  host at the next start (Docker follows it). It is looked for at each start, so nothing is swapped in between. Where
  such links are meant, the service or the file says `x-pycompose: {follow_links: true}`.
- `x-pycompose: {host: {show: [/srv/certificates]}}` shows these absolute paths in the image `host`, though they are
  hidden from it.
- `x-pycompose: {replica_identity: true}` gives each replica its name as hostname, and `PYCOMPOSE_PROJECT`,
  `PYCOMPOSE_SERVICE`, `PYCOMPOSE_REPLICA` (its number) and `PYCOMPOSE_CONTAINER` (its name) in its environment.
- `x-pycompose: {restart: unhealthy}` has a container that becomes unhealthy stopped, and started again as if it had
  failed: with the back-off, `delay` and `max_attempts` of its restart policy, and without one too. Otherwise, as with
  Docker, nothing is done about health but what dependencies and published ports make of it.
- `network_mode: bridge` is one bridge of the machine for containers of all projects, there while anybody is on it.
  As with Docker it knows no names of services; `links` are lines of `/etc/hosts`, which follow a container that gets
  another address. Names outside are asked of the host's servers by 127.0.0.11.
- A fixed address of the file is given to none of its other services, and a container keeps its own while it is stopped.
- A single published port belongs to its service: connections are spread over the healthy replicas. Of a range
  (`8100-8103:8000`), and of a port that the host chooses (`8000`), each container has one, as with Docker.
- Contents of configs, secrets and env files are part of what `up` compares (docker compose looks at names alone): a
  changed file makes containers anew, and the plan says `configuration changed: config app.conf`.
- What shares a namespace with a service or with a container of another project (`network_mode`, `ipc`, `pid`) is
  started again whenever that one is, by a command or its restart policy; docker compose leaves it in the namespace that
  is gone. Where a command makes one anew that others name (`container:NAME`), it makes
  what runs with its namespaces or volumes anew too, in their own projects as their last `up` had them; a warning names
  those for which that fails. With `--no-deps`, a service whose namespaces or volumes it
  takes and that has no container is an error.
- Anonymous volumes that a new container does not take over from the one it replaces are removed; docker compose leaves
  them.
- A service of a `provider` is made by a program, `docker-TYPE` or `TYPE`, as with docker compose; `up`, `create`,
  `scale` and `run` run it each time, `down` and (where its metadata say so) `stop` end it. It is called by the command,
  with the caller's PATH and tokens, as a step of the plan: after the conditions of its own `depends_on` (docker compose
  runs it once those containers are made, not ready), before what depends on it is made, and when ending the other way
  round. Containers that have other variables than it tells now are made anew; docker compose leaves them. With
  `--no-deps` dependents keep the variables of the last run, and a dry run plans with those.
- A `pre_start` hook's container is called `PROJECT-SERVICE-pre_start-INDEX` and is its service's in all but what the
  hook says and its entrypoint, which is the image's; it has no ports and no fixed address. `ps -a` shows one that
  failed. Hooks are due before the first start of a service's containers: not after `stop` and `up`, nor when more are
  added. With `per_replica`, which docker compose 5 refuses, each container has its own, before its own first start.
  What hooks write is shown in an attached `up`, not in `up -d`.
- `service_completed_successfully` on a service that is always started again is an error of `up`; docker compose waits.
"""


def page() -> str:
    parts = [HEAD, _top(), "## Services\n"]
    for title, notes in GROUPS.items():
        rows = [(_mark(name), f"`{name}`", told) for name, told in notes.items()]
        parts.append(f"### {title}\n\n{_table(('', 'attribute', 'what it is'), rows)}")
    parts += [
        "### Long forms\n\n" + _table(("of", "attributes"), _long_forms()),
        "### deploy\n\n" + _table(("", "attribute", "its own"), _deploy()),
        "### build, develop, gpus and others\n\n" + _table(("of", "attributes"), _kept()),
        _others(),
        OURS,
        _differences(),
    ]
    return "\n".join(parts)


def _mark(name: str) -> str:
    return ACTED if name in service.ACTED else EMPTY


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _names(kind: type, *without: str) -> str:
    """The attributes of a record, as the file calls them."""
    names = [one.metadata.get("name", one.name) for one in dataclasses.fields(kind)]
    hidden = {"extensions", "canonical", "kept", "config_hash", "key", *without}
    return " ".join(f"`{name}`" for name in names if name not in hidden)


def _top() -> str:
    rows = [
        (ACTED, "`name`", "the project's name, where neither -p nor COMPOSE_PROJECT_NAME says it"),
        (ACTED, "`services`", "below"),
        (ACTED, "`networks` `volumes` `configs` `secrets`", "below"),
        (
            ACTED,
            "`include`",
            "a path, or `{path, project_directory, env_file}`: other files, with folders of their own",
        ),
        (EMPTY, "`models`", "`{model, name, context_size, runtime_flags}`"),
        (EMPTY, "`version`", "obsolete; a warning"),
    ]
    known = {name for _, names, _ in rows for name in names.replace("`", "").split()}
    assert known == {*build_section.TOP, "models"}, "the page must tell every key of the top level"
    return "## Top level\n\n" + _table(("", "key", "what it is"), rows)


def _long_forms() -> list[tuple[str, str]]:
    return [
        ("`depends_on`", "`condition` `restart` `required`"),
        ("`healthcheck`", _names(project.Healthcheck)),
        ("`networks`", _names(project.Attachment, "network")),
        ("`ports`", "`name` `target` `published` `host_ip` `protocol` `app_protocol` `mode`"),
        (
            "`volumes`, bind",
            "`type` `source` `target` `read_only` `bind: {propagation, create_host_path, recursive, selinux}`",
        ),
        ("`volumes`, volume", "`type` `source` `target` `read_only` `volume: {nocopy, subpath, labels}`"),
        ("`volumes`, tmpfs", "`type` `target` `tmpfs: {size, mode}`"),
        ("`volumes`, image", "`type` `source` `target` `image: {subpath}`"),
        ("`configs`, `secrets`", _names(project.FileReference)),
        ("`devices`", _names(project.Device)),
        ("`post_start`, `pre_stop`, `pre_start`", _names(project.Hook)),
        ("`logging`", _names(project.Logging)),
    ]


def _deploy() -> list[tuple[str, str, str]]:
    inside = {
        "update_config": deployment.UpdateConfig,
        "rollback_config": deployment.UpdateConfig,
        "restart_policy": deployment.DeployRestart,
        "placement": deployment.Placement,
    }
    rows = []
    for one in dataclasses.fields(deployment.Deploy):
        if one.name == "extensions":
            continue
        its = _names(inside[one.name]) if one.name in inside else ""
        if one.name == "resources":
            its = f"`limits`: {_names(deployment.Limits)}; `reservations`: {_names(deployment.Reservations)}"
        rows.append((EMPTY if one.name in service.KEPT_DEPLOY else ACTED, f"`{one.name}`", its))
    return rows


def _kept() -> list[tuple[str, str]]:
    return [
        ("`build`", _names(image_build.Build)),
        ("`develop.watch`", _names(develop.Watch)),
        ("`gpus`, `reservations.devices`", _names(deployment.DeviceRequest)),
        ("`provider`", _names(deployment.Provider)),
        ("`credential_spec`", _names(deployment.CredentialSpec)),
        ("`models` of a service", _names(deployment.ModelUse)),
        ("`models` of the file", _names(deployment.LanguageModel)),
    ]


def _others() -> str:
    rows = [
        ("`networks`", " ".join(f"`{name}`" for name in build_section.NETWORK)),
        ("`ipam` of a network", "`driver` `config` (" + _names(project.IpamPool) + "); `options` is kept"),
        ("`volumes`", "`name` `external` `driver` `driver_opts` `labels`"),
        ("`configs`", "`name` `external` `file` `environment` `content` `labels`; `template_driver` is kept"),
        (
            "`secrets`",
            "`name` `external` `file` `environment` `labels`; `driver` `driver_opts` `template_driver` are kept",
        ),
    ]
    return "## Networks, volumes, configs, secrets\n\n" + _table(("of", "attributes"), rows)


def _differences() -> str:
    from docker_compose import EXPLAINED  # type: ignore[import-not-found]  # beside this file

    told = [f"- `{place}`: {why}." for place, _, why in EXPLAINED]
    lines = [
        "## What `config` prints otherwise than docker compose",
        "",
        "What docker compose 2.40 answers to small files, and to 49 projects as people have them, is data of the",
        "tests; where it is installed, a test compares what both print for every file of the examples and tests.",
        "The short form of a bind is printed with `create_host_path: true`, as 2.40 does; `config --compose-version 5`",
        "leaves it out, as docker compose 5 does.",
        "What stays different are faults of docker compose:",
        "",
        *told,
        "- `!reset` and `!override` reach through a merge key (`<<: *anchor`), as through an alias.",
        "- A bare name in the `environment` of a hook is the caller's variable, as anywhere; docker compose leaves it",
        "  out.",
        "- `--no-env-resolution` leaves env files unread; docker compose reads them all the same.",
        "- A volume that an override makes `external: true` loses the base's driver; docker compose refuses it.",
        "- What docker compose refuses and what is understood all the same is taken, with a warning at its place: an",
        "  entry twice in a list (`group_add`, `security_opt`, `networks`, labels of volumes …), numbers and booleans",
        "  in quotes or from variables where it wants none, text where it wants text in quotes, fractions of bytes, a",
        "  duration without a unit. What has no meaning is an error, as there.",
        "- A port that is written in the short and in the long form is one port; docker compose prints it twice.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
