"""What images and containers say about themselves steers no terminal: names, commands, errors, output in messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import image_tools
from .conftest import Machine
from .test_images import compose, import_image

pytestmark = pytest.mark.usefixtures("root")
EVIL = r"\u001b[2J\u001b]0;title\u0007"  # in JSON


def shown(text: str) -> str:
    assert text.replace("\n", "").isprintable(), repr(text)
    return text


def test_processes_name_themselves_and_top_spells_it_out(host: Machine, tmp_path: Path) -> None:
    text = (
        "services: {web: {image: host, network_mode: none, stop_signal: SIGKILL, "
        "command: [sh, -c, \"exec -a '\\e[2J\\e]0;x\\a' sleep 100\", x]}}\n"
    ).replace("[sh, -c", "[bash, -c")
    words = compose(tmp_path, text)
    host.pycompose(*words, "up", "-d")
    try:
        assert "\\u001b[2J" in shown(host.pycompose(*words, "top").stdout)
        shown(host.pycompose(*words, "ps").stdout)
    finally:
        host.pycompose(*words, "down", "-t", "0")


def test_what_an_image_says_of_itself_is_spelled_out(host: Machine, tmp_path: Path) -> None:
    import_image(host, tmp_path, "odd", image_tools.tar(), f'CMD ["/{EVIL}no-program"]')
    words = compose(tmp_path, "services: {web: {image: odd, network_mode: none}}")
    done = host.pycompose(*words, "up", "-d", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    shown(done.stderr)
    shown(host.pycompose(*words, "ps", "-a").stdout)
    shown(host.pycompose("image", "history", "--no-trunc", "odd").stdout)
    shown(host.pycompose("image", "inspect", "odd").stdout)
    host.pycompose(*words, "down")
