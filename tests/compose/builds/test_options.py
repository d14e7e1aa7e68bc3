"""Options of a build: what each attribute comes to, and what has no effect."""

from __future__ import annotations

import pytest
from pycompose.compose.builds import options as module
from pycompose.compose.builds.options import DockerfileSecret
from pycompose.compose.model.image_build import Build, BuildSecret, Ulimit
from pycompose.errors import PycomposeError


def test_attributes_become_options() -> None:
    build = Build(
        "/src",
        dockerfile="Dockerfile.dev",
        args={"A": "1", "B": None},
        extra_hosts=("db=10.0.0.1", "six=[fd00::1]"),
        secrets=(BuildSecret("token"), BuildSecret("key", "id_rsa")),
        ulimits={"nofile": Ulimit(1, 2)},
        ssh={"default": None, "other": "/agent"},
    )
    options = module.options("web", build)
    assert (options.context, options.dockerfile, dict(options.args)) == (
        "/src",
        "Dockerfile.dev",
        {"A": "1", "B": None},
    )
    assert options.extra_hosts == (("db", "10.0.0.1"), ("six", "fd00::1"))
    assert options.secrets == (DockerfileSecret("token", "token"), DockerfileSecret("key", "id_rsa"))
    assert (options.ulimits, options.ssh) == ({"nofile": (1, 2)}, {"default": "", "other": "/agent"})
    assert (options.network, options.notes) == ("default", ())


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (Build("service:base"), "the image of a service is no folder"),
        (Build(entitlements=("security.insecure",)), "security.insecure"),
        (Build(network="mine"), "a build cannot join it"),
        (Build(extra_hosts=("nothing",)), "no name and address"),
    ],
)
def test_what_a_build_cannot_do_is_an_error(build: Build, words: str) -> None:
    with pytest.raises(PycomposeError, match=words):
        module.options("web", build)


def test_what_has_no_effect_is_told() -> None:
    build = Build(
        cache_to=("type=inline",), provenance="mode=max", sbom="false", cache_from=("image:1", "type=local,src=/c")
    )
    options = module.options("web", build)
    assert options.cache_from == ("image:1",)
    assert [note.partition(" has no effect")[0] for note in options.notes] == [
        'service "web": build.cache_to',
        'service "web": build.provenance',
        "service \"web\": build.cache_from 'type=local,src=/c'",
    ]
