"""What `config` prints, in golden words: docker compose's keys, order, defaults and quoting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pycompose.compose.file import show
from pycompose.compose.file.loader import Loaded, Options, load, merged
from pycompose.compose.file.outline import outline
from pycompose.compose.file.variables import Variable, variables
from pycompose.compose.model.quantities import duration_text

FILE = """\
name: demo
x-top: {b: 1, a: [1, "2"]}
services:
  web:
    image: "nginx:${TAG:-1.25}"
    command: sh -c "echo $$HOME; sleep 1"
    ports: ["8080:80", "127.0.0.1:5000-5001:5000-5001/udp", "3000"]
    depends_on: {db: {condition: service_healthy}, cache: {condition: service_started, required: false}}
    links: [db]
    environment: [A=1, "B=yes", C=, "D=one\\ntwo"]
    volumes:
      - ./html:/html:ro
      - data:/data
      - /anonymous
      - {type: tmpfs, target: /t, tmpfs: {size: 10m, mode: 0o1777}}
      - {type: bind, source: ./x, target: /x, bind: {create_host_path: false, selinux: z}}
    tmpfs: ["/run:size=1m,uid=3"]
    configs: [app]
    secrets: [{source: key, target: k, mode: 0440}]
    deploy: {resources: {limits: {memory: 50M, cpus: "0.50"}}, replicas: 2, restart_policy: {delay: 90s}}
    mem_reservation: 20m
    stop_grace_period: 1h
    healthcheck: {test: curl localhost, interval: 90s, timeout: 0.5s}
    ulimits: {nproc: {soft: 1, hard: 2}, nofile: 1024}
    extra_hosts: ["b:1.2.3.4", "a=::1"]
    x-pycompose: {z: 1}
  db:
    build: ./db
    cpus: 1.0
  cache: {image: redis, profiles: [never]}
networks: {unused: }
volumes: {data: , unused: }
configs: {app: {content: "hello\\n"}}
secrets: {key: {file: ./key}}
"""
SHOWN = """\
name: demo
services:
  db:
    build:
      context: @/db
      dockerfile: Dockerfile
    cpus: 1
    networks:
      default: null
  web:
    command:
      - sh
      - -c
      - echo $$HOME; sleep 1
    configs:
      - source: app
    depends_on:
      cache:
        condition: service_started
        required: false
      db:
        condition: service_healthy
        required: true
    deploy:
      replicas: 2
      resources:
        limits:
          cpus: 0.5
          memory: "52428800"
      restart_policy:
        delay: 1m30s
    environment:
      A: "1"
      B: "yes"
      C: ""
      D: |-
        one
        two
    extra_hosts:
      - a=::1
      - b=1.2.3.4
    healthcheck:
      test:
        - CMD-SHELL
        - curl localhost
      timeout: 500ms
      interval: 1m30s
    image: nginx:1.25
    links:
      - db
    mem_reservation: "20971520"
    networks:
      default: null
    ports:
      - mode: ingress
        target: 80
        published: "8080"
        protocol: tcp
      - mode: ingress
        host_ip: 127.0.0.1
        target: 5000
        published: "5000"
        protocol: udp
      - mode: ingress
        host_ip: 127.0.0.1
        target: 5001
        published: "5001"
        protocol: udp
      - mode: ingress
        target: 3000
        protocol: tcp
    secrets:
      - source: key
        target: k
        mode: "0440"
    stop_grace_period: 1h0m0s
    tmpfs:
      - /run:size=1m,uid=3
    ulimits:
      nofile: 1024
      nproc:
        soft: 1
        hard: 2
    volumes:
      - type: bind
        source: @/html
        target: /html
        read_only: true
        bind:
          create_host_path: true
      - type: volume
        source: data
        target: /data
        volume: {}
      - type: volume
        target: /anonymous
        volume: {}
      - type: tmpfs
        target: /t
        tmpfs:
          size: "10485760"
          mode: 1023
      - type: bind
        source: @/x
        target: /x
        bind:
          selinux: z
          create_host_path: false
    x-pycompose:
      z: 1
networks:
  default:
    name: demo_default
volumes:
  data:
    name: demo_data
secrets:
  key:
    name: demo_key
    file: @/key
configs:
  app:
    name: demo_app
    content: |
      hello
x-top:
  a:
    - 1
    - "2"
  b: 1
"""


def loaded(folder: Path, text: str = FILE, **flags: bool) -> Loaded:
    (folder / "compose.yaml").write_text(text)
    return load(Options(files=(str(folder / "compose.yaml"),), **flags))  # type: ignore[arg-type]


def test_yaml_is_laid_out_as_docker_compose_does(tmp_path: Path) -> None:
    assert show.to_yaml(show.used(loaded(tmp_path).tree)).replace(str(tmp_path), "@") == SHOWN


def test_json_has_the_nulls_and_empty_mappings_of_docker_compose(tmp_path: Path) -> None:
    shown = json.loads(show.to_json(show.used(loaded(tmp_path).tree)))
    assert list(shown) == sorted(shown)
    assert list(shown["services"]["db"]) == ["build", "cpus", "command", "entrypoint", "networks"]
    assert shown["services"]["db"]["command"] is None
    assert shown["networks"] == {"default": {"name": "demo_default", "ipam": {}}}
    assert list(shown["services"]["web"]["deploy"]) == ["replicas", "resources", "restart_policy", "placement"]


@pytest.mark.parametrize("write", [show.to_yaml, show.to_json])
def test_what_is_shown_loads_as_the_same_and_is_shown_the_same(tmp_path: Path, write: object) -> None:
    assert callable(write)
    first = loaded(tmp_path)
    again = loaded(tmp_path, write(first.tree))
    assert again.tree == first.tree
    for name, service in first.project.services.items():
        assert again.project.services[name].config_hash == service.config_hash


def test_what_nobody_uses_is_left_out(tmp_path: Path) -> None:
    tree = loaded(tmp_path).tree
    assert set(tree["volumes"]) == {"data", "unused"}
    assert set(show.used(tree)["volumes"]) == {"data"}
    assert set(show.used(tree)["networks"]) == {"default"}


def test_of_some_services_only_those_and_what_they_use_is_shown(tmp_path: Path) -> None:
    tree = loaded(tmp_path).tree
    assert list(show.only(tree, ["db"])["services"]) == ["db"]
    assert "volumes" not in show.used(show.only(tree, ["db"]))


def test_a_file_is_shown_as_far_as_it_is_asked_to_go(tmp_path: Path) -> None:
    web = loaded(tmp_path, resolve_paths=False).tree["services"]["web"]
    assert web["volumes"][0]["source"] == "./html"
    tree = loaded(tmp_path, normalize=False).tree
    assert "networks" not in tree["services"]["web"]
    assert tree["volumes"]["data"] == {}
    text = "services: {a: {image: x, depends_on: [nobody], env_file: none.env}}"
    assert (
        "nobody"
        in loaded(tmp_path, text, check_consistency=False, resolve_env=False).tree["services"]["a"]["depends_on"]
    )


def test_a_file_that_is_not_interpolated_is_shown_in_long_forms_where_they_can_be_read(tmp_path: Path) -> None:
    text = """\
services:
  b:
    image: ${X:-y}
    depends_on: [a]
    ports: ["${PORT}:80", "81:81"]
    volumes: ["./x:/x", "${V:-data}:/d"]
    secrets: [key]
  a: {build: .}
volumes: {data: }
"""
    (tmp_path / "compose.yaml").write_text(text)
    found = merged(Options(files=(str(tmp_path / "compose.yaml"),), interpolate=False))
    shown = show.to_yaml(outline(found.tree, "demo", str(tmp_path)), escape=False)
    assert (
        shown.replace(str(tmp_path), "@")
        == """\
name: demo
networks:
  default:
    name: demo_default
services:
  a:
    build:
      context: '@'
      dockerfile: Dockerfile
    networks:
      default: null
  b:
    depends_on:
      a:
        condition: service_started
        required: true
    image: ${X:-y}
    networks:
      default: null
    ports:
      - ${PORT}:80
      - 81:81
    secrets:
      - source: key
        target: /run/secrets/key
    volumes:
      - bind:
          create_host_path: true
        source: @/x
        target: /x
        type: bind
      - source: ${V:-data}
        target: /d
        type: volume
        volume: {}
volumes:
  data:
    name: demo_data
""".replace("'@'", "@")
    )
    plain = outline(found.tree, "demo", str(tmp_path), normalize=False, resolve_paths=False)
    assert plain["services"]["a"] == {"build": {"context": "."}}
    assert plain["services"]["b"]["volumes"][0]["source"] == "./x"


def test_variables_are_listed_with_what_the_file_says_of_them(tmp_path: Path) -> None:
    text = "services: {a: {image: '$A-${B:-b${C}}', user: '${D:?must}${E:+e}$$F', x-y: ['${A-late}', '${Z']}}"
    (tmp_path / "compose.yaml").write_text(text)
    found = variables(merged(Options(files=(str(tmp_path / "compose.yaml"),), interpolate=False)).tree)
    assert found == {
        "A": Variable("A", default="late"),
        "B": Variable("B", default="b${C}"),
        "C": Variable("C"),
        "D": Variable("D", required=True),
        "E": Variable("E", alternate="e"),
        "Z": Variable("Z"),
    }


def test_images_are_pinned_and_locked(tmp_path: Path) -> None:
    mounts = "[{type: image, source: y, target: /y}, /anonymous]"
    text = f"services: {{a: {{image: x, volumes: {mounts}}}, b: {{build: .}}}}"
    tree = show.pinned(loaded(tmp_path, text).tree, {"x": "x@1", "y": "y@2"})
    mounted = {"type": "image", "source": "y@2", "target": "/y"}
    assert show.images_only(tree) == {"services": {"a": {"image": "x@1", "volumes": [mounted]}, "b": {}}}


@pytest.mark.parametrize("restart", ["no", "on-failure:3", "unless-stopped"])
def test_a_restart_that_deploy_says_otherwise_is_still_told(tmp_path: Path, restart: str) -> None:
    text = f"services: {{a: {{image: x, restart: '{restart}', deploy: {{restart_policy: {{condition: any}}}}}}}}"
    first = loaded(tmp_path, text)
    again = loaded(tmp_path, show.to_yaml(first.tree))
    assert again.project.services["a"].restart == first.project.services["a"].restart
    assert first.tree["services"]["a"]["restart"] == restart


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0005, "500µs"), (0.1, "100ms"), (1.5, "1.5s"), (60, "1m0s"), (90, "1m30s"), (3600, "1h0m0s")],
)
def test_times_are_written_as_go_does(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
