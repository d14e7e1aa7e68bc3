"""Bundles as JSON and back."""

from __future__ import annotations

import json

import pytest
from pycompose.runtime.spec import (
    Bundle,
    FolderRoot,
    HostRoot,
    InsideSocket,
    LayeredRoot,
    Process,
    RootFilesystem,
    Spec,
    from_json,
    to_json,
)


@pytest.mark.parametrize(
    "root",
    [FolderRoot("/somewhere"), HostRoot("/store", ("/init",), ("/state",)), LayeredRoot(("/a", "/b"), "/u", "/w")],
)
def test_a_bundle_read_back_equals_the_one_written(root: RootFilesystem) -> None:
    spec = Spec(Process(("sleep", "1000"), ("A=b",)), annotations={"who": "me"})
    bundle = Bundle(spec, root, (InsideSocket("udp", "127.0.0.11", 0),), shared={"network": "other"})
    assert from_json(Bundle, to_json(bundle)) == bundle


def test_names_are_those_of_the_specification() -> None:
    tree = json.loads(to_json(Bundle(Spec(Process(("true",), no_new_privileges=True)), FolderRoot("/"))))
    assert tree["spec"]["process"]["noNewPrivileges"] is True
    assert tree["root"] == {"path": "/", "kind": "folder"}


def test_what_the_text_lacks_takes_its_default_and_unknown_keys_are_passed_over() -> None:
    assert from_json(Process, '{"args": ["true"], "ofTomorrow": 1}') == Process(("true",))


def test_a_missing_field_without_a_default_is_an_error() -> None:
    with pytest.raises(ValueError, match="args"):
        from_json(Process, "{}")
