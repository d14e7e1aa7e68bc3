"""Calls of every command with every flag of docker compose's reference, in the order that one project lives through.

A call is its words, its exit code, and what is in what it prints. `{registry}` is a registry, `{folder}` the project's.
"""

from __future__ import annotations

from typing import NamedTuple

FILE = """\
name: p
services:
  web:
    image: base
    command: sleep 300
    stop_grace_period: 0s
    init: true
    ports: ["8080"]
    volumes: ["data:/data", /anonymous]
  db: {build: ./context, image: "REGISTRY/db:1", command: sleep 300, stop_grace_period: 0s, init: true}
  app: {image: base, command: sleep 300, stop_grace_period: 0s, init: true, depends_on: [db], expose: ["9000-9001"]}
  once: {image: base, command: "true", profiles: [once]}
  fails: {image: base, command: sh -c 'exit 3', profiles: [fails]}
volumes: {data: , unused: }
"""
DOCKERFILE = "FROM base\nARG X\nRUN echo $X > /x\n"
TRANSFORMATION = (
    "FROM base\nLABEL com.docker.compose.bridge=transformation\nCOPY templates /templates\nCMD cat /in/compose.yaml\n"
)


class Call(NamedTuple):
    words: str
    code: int = 0
    prints: str = ""


CALLS = (
    # before anything is there
    Call("--version", prints="pycompose "),
    Call("-v", prints="pycompose "),
    Call("version --short", prints="."),
    Call("version -f json", prints='{"version":'),
    Call(
        "-f compose.yaml -p other --profile once --env-file .env --ansi never --progress plain config --services",
        prints="once",
    ),
    Call("--project-directory {folder} --parallel 2 --verbose --no-ansi config -q"),
    Call("--workdir {folder} --compatibility config --images", prints="base"),
    Call("--all-resources config --volumes --no-normalize", prints="unused"),
    Call("config --environment --no-env-resolution", prints="COMPOSE_PROJECT_NAME=p"),
    Call("config --format json --no-path-resolution -o out.json"),
    Call("config --hash web", prints="web "),
    Call("config --images", prints="base"),
    Call("config --models --no-consistency"),
    Call("config --networks", prints="default"),
    Call("config --profiles", prints="fails\nonce"),
    Call("config --variables --no-interpolate", prints="NAME"),
    Call("convert -q"),
    Call("alpha viz --image --networks --ports --spaces --indentation-size 2", prints='  "app" -> "db";'),
    # images
    Call("build --print db", prints='"dockerfile": "{folder}/context/Dockerfile"'),
    Call("build --check --builder default --provenance false --sbom=none --progress plain", prints="no problem found"),
    Call(
        "build --compress --force-rm --no-rm --parallel -m 64m --build-arg X=1 --no-cache --push "
        "--with-dependencies app"
    ),
    Call("build --pull=false -q --ssh default=/nowhere db"),
    Call("build --sbom true", 1, "attestations are not made"),
    Call("build --provenance max", 1, "attestations are not made"),
    Call("build --builder other", 1, 'no builder "other" found'),
    Call("push -q --include-deps --ignore-push-failures db"),
    Call("pull --policy always --include-deps --ignore-buildable --quiet db"),
    Call("pull --ignore-pull-failures --parallel --no-parallel db"),
    Call("config --resolve-image-digests --no-interpolate db", 1, "failed to resolve digest for base"),
    Call("-f digests.yaml config --lock-image-digests", prints="/db:1@sha256:"),
    Call("-f digests.yaml config --resolve-image-digests", prints="/db:1@sha256:"),
    # containers
    Call("create --no-build --pull missing --quiet-pull --remove-orphans --scale web=2 -y web"),
    Call("create --force-recreate --build db"),
    Call("create --no-recreate"),
    Call("start --wait --wait-timeout 60 web"),
    Call("--dry-run up -d", prints="p-app-1"),
    Call("up -d --dry-run", prints="p-app-1"),
    Call("up -d --no-recreate --no-deps --quiet-pull --pull never --scale web=2 web"),
    Call("up --no-start --always-recreate-deps --quiet-build --build app"),
    Call("up --wait --wait-timeout 60 -V --force-recreate --remove-orphans -t 0 -y --scale web=2"),
    Call(
        "--profile once up --abort-on-container-exit --no-build --no-color --no-log-prefix --timestamps "
        "--attach once once"
    ),
    Call("--profile fails up --abort-on-container-failure --attach-dependencies fails", 3),
    Call("--profile fails up --exit-code-from fails --no-attach db fails app", 3),
    Call("up -d --menu=false --wait"),
    Call("up -d --scale web=2"),
    Call("scale --no-deps web=2"),
    # a look at them
    Call("ps -a --no-trunc --orphans=false", prints="p-web-1"),
    Call("ps --filter status=running --status running --services", prints="web"),
    Call("ps --format json web", prints='"Service":"web"'),
    Call("ps -q db"),
    Call("ps --format json app", prints='"Ports":"9000-9001/tcp"'),
    Call("inspect -f '{{json .NetworkSettings.Ports}}' p-app-1", prints='"9001/tcp":null'),
    Call(
        "image ls --filter label=com.docker.compose.bridge=transformation --format '{{.Name}}'", prints="transformation"
    ),
    Call("image ls -a --no-trunc --filter reference=bas* --filter until=0s --filter dangling=false", prints="sha256:"),
    Call("image ls base --filter before=base -q", prints=""),
    Call("image ls --filter nothing=x", 1, "invalid filter 'nothing'"),
    Call("ls -a --filter name=p --format json", prints='"Name":"p"'),
    Call("ls -q", prints="p"),
    Call("images --format json", prints='"Repository":"base"'),
    Call("images -q web", prints="\n"),
    Call("volumes --format json", prints='"Name":"p_data"'),
    Call("volumes -q web", prints="p_data"),
    Call("port --index 1 --protocol tcp web 8080", prints="0.0.0.0:"),
    Call("top web", prints="sleep 300"),
    Call("stats --no-stream --no-trunc --all --format json web", prints='"Name":"p-web-1"'),
    Call("logs --index 1 --no-color --no-log-prefix --since 1h --until 0s -n 5 -t web"),
    Call("logs -f --tail 1 once"),
    Call("events --json --since 1h --until 0s web", prints='"action":"start"'),
    # inside
    Call("exec -T -e A=b --index 1 -w /data -u 0 web sh -c 'echo $A'", prints="b\n"),
    Call("exec -d --privileged -i -T web true"),
    Call("exec -t=false web true"),
    Call("run --rm -T --name named -e A=c -w / -u 0 -l a=b --entrypoint sh --no-deps web -c 'echo $A'", prints="c\n"),
    Call("run --rm -T --env-from-file .env -v /tmp:/tmp2 --cap-add NET_ADMIN --cap-drop CHOWN -p 0:81 web true"),
    Call("run --rm -T --quiet --quiet-build --quiet-pull --pull missing --build --use-aliases app true"),
    Call("run --rm -i=false -t=false --remove-orphans -P db true"),
    Call("run -d web sleep 1", prints="\n"),
    Call(
        "attach --no-stdin --sig-proxy=false --detach-keys ctrl-x --index 9 web",
        1,
        'service "web" is not running container #9',
    ),
    Call("cp --index 1 -a -L .env web:/copied"),
    Call("cp --all .env web:/copied"),
    Call("cp --index 9 web:/copied .", 1, 'service "web" is not running container #9'),
    Call("commit -a me -m words -c 'CMD sh' -p --index 1 web committed:1", prints="sha256:"),
    Call("export --index 1 -o out.tar db"),
    Call("alpha generate --name new --project-dir {folder} --format json p-web-1", prints='"name": "new"'),
    # their ends
    Call("pause db"),
    Call("unpause db"),
    Call("restart --no-deps -t 0 db"),
    Call("kill -s TERM --remove-orphans app"),
    Call("wait app", 143),
    Call("stop -t 0 db"),
    Call("rm -f -a -v app"),
    Call("rm -s -f db"),
    Call("kill web"),
    Call("wait --down-project web", 137),
    Call("down -t 0 -v --remove-orphans --rmi local"),
    # other models
    Call("bridge transformations create --from transformation mine", prints="Transformer created in"),
    Call("bridge transformations list --format json", prints='"Repository":"transformation"'),
    Call("bridge transformations list -q", prints="transformation"),
    Call("bridge convert -t transformation --templates mine/templates -o converted -y", prints="services:"),
)
