"""What services mount: volumes that take on the image's content and outlive containers, binds, tmpfs, secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import image_tools
from .conftest import Machine
from .test_images import compose, import_image

pytestmark = pytest.mark.usefixtures("root")
SLEEP = 'CMD ["/bin/sleep", "100"]'


@pytest.fixture
def app(host: Machine, tmp_path: Path) -> Machine:
    """A machine with the image `app`, which has something at /data."""
    tar = image_tools.tar(
        {"data/of-image": b"seed", "real/in": b"linked"},
        (image_tools.folder("data", 1234, 0o750), image_tools.link("linked", "/real")),
    )
    import_image(host, tmp_path, "app", tar, SLEEP)
    return host


def up(host: Machine, folder: Path, text: str, *more: str) -> tuple[str, ...]:
    project = compose(folder, text)
    host.pycompose(*project, "up", "-d", "-t", "0", *more)
    return project


def shell(host: Machine, project: tuple[str, ...], text: str, service: str = "web") -> str:
    return host.pycompose(*project, "exec", "-T", service, "sh", "-c", text).stdout


def service(extra: str, top: str = "") -> str:
    return f"services:\n  web:\n    image: app\n    network_mode: none\n    init: true\n{extra}\n{top}\n"


def failed(host: Machine, folder: Path, text: str) -> str:
    project = compose(folder, text)
    told = host.pycompose(*project, "up", "-d", check=False)
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    left = host.run("sh", "-c", f"ls -A {host.state}/projects/imaged/containers 2>/dev/null", check=False).stdout
    host.pycompose(*project, "down", "-v", "-t", "0", check=False)
    assert left == "", "a container was left half made"
    return told.stderr


def test_a_named_volume_takes_on_the_images_content_once_and_outlives_down(app: Machine, tmp_path: Path) -> None:
    text = service(
        "    volumes: ['data:/data', 'plain:/linked',\n"
        "      {type: volume, source: bare, target: /real, volume: {nocopy: true}}]",
        "volumes: {data: {labels: {a: b}}, plain: {}, bare: {}}",
    )
    project = up(app, tmp_path, text)
    try:
        assert shell(app, project, "cat /data/of-image; stat -c %u:%a /data; ls /real | cat") == "seed1234:750\n"
        shell(app, project, "rm /data/of-image; echo mine > /data/mine; umask")
        app.pycompose(*project, "down", "-t", "0")
        assert app.pycompose(*project, "volumes", "-q").stdout.split() == ["imaged_bare", "imaged_data", "imaged_plain"]
        up(app, tmp_path, text)
        assert shell(app, project, "ls /data | cat") == "mine\n"
    finally:
        app.pycompose(*project, "down", "-t", "0", "-v")
    assert app.pycompose("volume", "ls", "-q").stdout == ""


def test_a_link_in_the_image_leads_to_the_content_that_is_copied(app: Machine, tmp_path: Path) -> None:
    project = up(app, tmp_path, service("    volumes: ['v:/linked']", "volumes: {v: {}}"))
    try:
        path = app.pycompose("volume", "inspect", "imaged_v").stdout.partition('"Mountpoint": "')[2].partition('"')[0]
        assert app.run("ls", path).stdout == "in\n"
    finally:
        app.pycompose(*project, "down", "-t", "0", "-v")


def test_an_anonymous_volume_goes_on_when_its_container_is_made_anew(app: Machine, tmp_path: Path) -> None:
    project = up(app, tmp_path, service("    volumes: ['/anon']"))
    try:
        shell(app, project, "echo kept > /anon/x")
        up(app, tmp_path, service("    volumes: ['/anon']\n    environment: {NEW: '1'}"))
        assert shell(app, project, "cat /anon/x; echo $NEW") == "kept\n1\n"
        up(app, tmp_path, service("    volumes: ['/anon']\n    environment: {NEW: '2'}"), "-V")
        assert shell(app, project, "ls /anon | cat") == ""
    finally:
        app.pycompose(*project, "down", "-t", "0", "-v")


def test_binds_are_as_told(app: Machine, tmp_path: Path) -> None:
    source, inner = tmp_path / "source", tmp_path / "source" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "file").write_text("f")
    app.run("mount", "-t", "tmpfs", "inner", str(inner))
    project = up(
        app,
        tmp_path,
        service(
            "    volumes:\n"
            f"      - {source}:/rw\n      - ./source:/ro:ro\n"
            f"      - {tmp_path}/file:/file:ro\n      - ./made/here:/made\n"
            f"      - {{type: bind, source: {source}, target: /top, read_only: true, bind: {{recursive: writable}}}}\n"
            f"      - {{type: bind, source: {source}, target: /flat, bind: {{recursive: disabled}}}}\n"
        ),
    )
    try:
        tried = "for p in /rw /ro /top /made /rw/inner /ro/inner /top/inner; do touch $p/x 2>/dev/null && echo $p; done"
        assert shell(app, project, f"{tried}; cat /file").split() == ["/rw", "/made", "/rw/inner", "/top/inner", "f"]
        assert (source / "x").exists()
        assert (tmp_path / "made/here/x").exists()
        assert shell(app, project, "ls /flat/inner | cat") == "", "a bind that is not recursive"
    finally:
        app.pycompose(*project, "down", "-t", "0")
        app.run("umount", str(inner))


def test_a_bind_of_nothing_is_an_error_that_names_it(app: Machine, tmp_path: Path) -> None:
    missing = f"{{type: bind, source: {tmp_path}/missing, target: /x, bind: {{create_host_path: false}}}}"
    assert f"bind source {tmp_path}/missing does not exist" in failed(
        app, tmp_path, service(f"    volumes: [{missing}]")
    )
    assert not (tmp_path / "missing").exists()


def test_tmpfs_mounts_have_their_size_mode_and_flags(app: Machine, tmp_path: Path) -> None:
    project = up(
        app,
        tmp_path,
        service(
            "    tmpfs: ['/plain', '/own:exec,size=1m,uid=1234,mode=700']\n"
            "    volumes: [{type: tmpfs, target: /long, tmpfs: {size: 65536, mode: 0o1770}}]"
        ),
    )
    try:
        mounts = {line.split()[1]: line.split()[3] for line in shell(app, project, "cat /proc/mounts").splitlines()}
        assert {"noexec", "nosuid", "nodev"} <= set(mounts["/plain"].split(","))
        assert "noexec" not in mounts["/own"]
        assert "size=1024k" in mounts["/own"]
        assert "size=64k" in mounts["/long"]
        assert shell(app, project, "stat -c %u:%a /own /long") == "1234:700\n0:1770\n"
    finally:
        app.pycompose(*project, "down", "-t", "0")


def test_a_subpath_is_found_inside_its_volume_and_leads_nowhere_else(app: Machine, tmp_path: Path) -> None:
    app.pycompose("volume", "create", "shared")
    path = f"{app.state}/volumes/shared/_data"
    app.run("sh", "-c", f"mkdir -p {path}/a/b; echo in > {path}/a/b/f; ln -s / {path}/out; ln -s a {path}/link")
    text = service(
        "    volumes: [{type: volume, source: s, target: /s, volume: {subpath: %s}}]",
        "volumes: {s: {external: true, name: shared}}",
    )
    try:
        project = up(app, tmp_path, text % "link/b")
        assert shell(app, project, "cat /s/f") == "in\n"
        up(app, tmp_path, text % "out")
        assert shell(app, project, "ls /s | cat").split() == ["a", "link", "out"], "/ is the volume's own"
        told = app.pycompose(*compose(tmp_path, text % "nowhere"), "up", "-d", check=False)
        assert (told.returncode, "mount /s" in told.stderr) == (1, True)
        app.pycompose(*project, "down", "-t", "0")
        assert "leaves it" in failed(app, tmp_path, text % "../x")
    finally:
        app.pycompose(*compose(tmp_path, text % "a"), "down", "-t", "0", "-v")
    assert app.pycompose("volume", "ls", "-q").stdout == "shared\n", "an external volume is not ours to remove"
    app.pycompose("volume", "rm", "shared")


def test_options_of_the_local_driver_are_a_bind_or_a_tmpfs(app: Machine, tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    project = up(
        app,
        tmp_path,
        service(
            "    volumes: ['b:/b', 't:/t']",
            "volumes:\n  b: {driver_opts: {type: none, o: bind, device: ./device}}\n"
            "  t: {driver: local, driver_opts: {type: tmpfs, o: 'size=1m,uid=1234', device: tmpfs}}",
        ),
    )
    try:
        shell(app, project, "touch /b/x /t/x")
        assert (tmp_path / "device/x").exists()
        assert "size=1024k" in shell(
            app, project, "cat /proc/mounts | while read l; do case $l in *' /t '*) echo $l;; esac; done"
        )
    finally:
        app.pycompose(*project, "down", "-t", "0", "-v")
    assert (tmp_path / "device/x").exists(), "what the device holds is not the volume's"


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ("{driver_opts: {type: nfs, o: 'addr=10.0.0.1', device: ':/x'}}", 'of type "nfs" are not supported'),
        ("{driver: rexray}", 'driver "rexray" is not supported'),
        ("{driver_opts: {color: red}}", 'option "color" is not supported'),
        ("{driver_opts: {type: none, o: bind, device: /no/such/place}}", "/no/such/place does not exist"),
        ("{external: true, name: absent}", 'external volume "absent" not found'),
    ],
)
def test_a_volume_that_cannot_be_is_an_error(app: Machine, tmp_path: Path, volume: str, message: str) -> None:
    assert message in failed(app, tmp_path, service("    volumes: ['v:/v']", f"volumes: {{v: {volume}}}"))


def test_a_volume_in_use_is_not_removed(app: Machine, tmp_path: Path) -> None:
    project = up(app, tmp_path, service("    volumes: ['v:/v']", "volumes: {v: {}}"))
    try:
        told = app.pycompose("volume", "rm", "imaged_v", check=False)
        assert told.returncode == 1
        assert "imaged-web-1" in told.stderr
    finally:
        app.pycompose(*project, "down", "-t", "0", "-v")
    assert app.pycompose("volume", "rm", "imaged_v", check=False).returncode == 1


def test_configs_and_secrets_are_files_that_are_read_only(app: Machine, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("from-file")
    text = service(
        "    environment: {NO: '1'}\n    configs: [inline,\n"
        "      {source: by-env, target: /etc/conf.d/x, uid: '1234', gid: '5', mode: 0o440}]\n"
        "    secrets: [file, {source: file, target: other, mode: 0o400}]",
        "configs:\n  inline: {content: 'text $$x'}\n  by-env: {environment: PATH}\n"
        "secrets:\n  file: {file: ./secret.txt}",
    )
    project = up(app, tmp_path, text)
    try:
        told = shell(app, project, "cat /inline /run/secrets/file /run/secrets/other; stat -c ' %a:%u' /inline")
        assert told == "text $xfrom-filefrom-file 444:0\n"
        assert shell(app, project, "stat -c %u:%g:%a /etc/conf.d/x /run/secrets/other") == "1234:5:440\n0:0:400\n"
        assert (
            shell(app, project, "for f in /inline /run/secrets/file; do echo x >> $f; done 2>/dev/null; cat /inline")
            == "text $x"
        )
        (tmp_path / "secret.txt").write_text("changed")
        app.pycompose(*project, "restart", "-t", "0")
        assert shell(app, project, "cat /run/secrets/file") == "changed"
    finally:
        app.pycompose(*project, "down", "-t", "0")
    (tmp_path / "secret.txt").unlink()
    assert "secret.txt" in failed(app, tmp_path, text)


def test_volumes_from_another_container_are_its_own(app: Machine, tmp_path: Path) -> None:
    (tmp_path / "bound").mkdir()
    text = """
services:
  data: {image: app, network_mode: none, init: true, volumes: ['/anon', 'v:/data', './bound:/bound']}
  web: {image: app, network_mode: none, init: true, volumes_from: [data]}
  reader: {image: app, network_mode: none, init: true, volumes_from: ['data:ro'], volumes: ['/bound']}
volumes: {v: {}}
"""
    project = up(app, tmp_path, text)
    try:
        shell(app, project, "echo 1 > /anon/x; echo 2 > /data/x; echo 3 > /bound/x")
        assert shell(app, project, "cat /anon/x /data/x /data/of-image; ls /bound | cat", "reader") == "1\n2\nseed"
        assert shell(app, project, "cat /anon/x /bound/x", "data") == "1\n3\n"
        assert shell(app, project, "touch /anon/y 2>/dev/null || echo refused", "reader") == "refused\n"
    finally:
        app.pycompose(*project, "down", "-t", "0", "-v")
    assert app.pycompose("volume", "ls", "-q").stdout == ""


def test_an_images_content_can_be_mounted(app: Machine, tmp_path: Path) -> None:
    project = up(
        app,
        tmp_path,
        service(
            "    volumes: [{type: image, source: app, target: /img},\n"
            "      {type: image, source: app, target: /sub, image: {subpath: data}}]"
        ),
    )
    try:
        assert (
            shell(app, project, "cat /img/real/in /sub/of-image; touch /img/x 2>/dev/null || echo refused")
            == "linkedseedrefused\n"
        )
    finally:
        app.pycompose(*project, "down", "-t", "0")


def test_a_subpath_of_an_image_of_several_layers_is_their_union(app: Machine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM app\nRUN echo more > /data/more\nRUN mkdir /one && echo 1 > /one/file\n")
    app.pycompose("image", "build", "-t", "layered", str(tmp_path))
    mounts = ", ".join(
        f"{{type: image, source: layered, target: /{number}, image: {{subpath: {path}}}}}"
        for number, path in enumerate(("data", "one", "one/file"))
    )
    project = up(app, tmp_path, service(f"    volumes: [{mounts}]"))
    try:
        script = "cat /0/of-image /0/more /1/file /2; touch /0/x /1/x 2>/dev/null || echo refused"
        assert shell(app, project, script) == "seedmore\n1\n1\nrefused\n"
    finally:
        app.pycompose(*project, "down", "-t", "0")
    assert "has no folder or file" in failed(
        app,
        tmp_path,
        service("    volumes: [{type: image, source: layered, target: /x, image: {subpath: none}}]"),
    )
