"""Whatever a file holds, loading ends soon, in little memory, with an error that says where and what."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORK = "services: {a: {image: x}}\n"
BAD: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "bad.yaml:1:1: empty compose file"),
    "nothing but documents": ("---\n" * 1000, "bad.yaml:1:1: empty compose file"),
    "binary": (bytes(range(256)) * 100, "bad.yaml:1:1: the file is binary, not text"),
    "latin-1": ("services: {a: {image: é}}".encode("latin-1"), "bad.yaml:1:23: the file is not UTF-8 text: byte 0xe9"),
    "tabs": ("services:\n\ta:\n", "bad.yaml:2:1: not valid YAML: found character that cannot start any token: a tab"),
    "a list for text": (
        "services: {a: {image: [x]}}\n",
        "bad.yaml:1:23: services.a.image must be a string\nhint: such as image: text; ",
    ),
    "a mapping for text, in lines": (
        "services:\n  a:\n    image:\n      x: y\n",
        "bad.yaml:3:5: services.a.image must be a string\nhint:",
    ),
    "too large": (b"#" * (17 << 20), "the file is larger than 16 MiB"),
    "deep": ("".join(f"\n{' ' * n}a:" for n in range(1000)), "values are nested more than 100 deep"),
    "deep brackets": ("[" * 10_000 + "]" * 10_000, "values are nested more than 100 deep"),
    "deep dashes": ("- " * 10_000, "values are nested more than 100 deep"),
    "aliases that multiply": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)),
        "more than 1,000,000 values",
    ),
    "merge keys that multiply": (
        f"x0: &x0 {{{','.join(f'k{n}: 1' for n in range(500))}}}\n"
        + "".join(f"x{n}: &x{n} {{<<: [{','.join([f'*x{n - 1}'] * 50)}], m: 1}}\n" for n in range(1, 60)),
        "more than 1,000,000 values",
    ),
    "a key of a million letters": (f"? {'k' * 1_000_000}\n: 1\n", "additional properties 'k"),
    "a command of twelve million letters": (
        f"services: {{a: {{image: x, command: '{'a b ' * 3_000_000}'}}}}",
        '"command" of service "a" is too long for a command',
    ),
    "interpolations that nest": (
        f"services: {{a: {{image: x, user: '{'${A:-' * 100_000}'}}}}",
        "is not closed",
    ),
    "ranges of ports": (
        "services: {a: {image: x, ports: [" + ",".join(f'"10.0.0.{n}:1-65535:1-65535"' for n in range(250)) + "]}}",
        "publish more than 200,000 ports",
    ),
    "a cycle of five thousand services": (
        "services:\n" + "".join(f"  a{n}: {{image: x, depends_on: [a{(n + 1) % 5000}]}}\n" for n in range(5000)),
        "dependency cycle detected: a0 -> a1",
    ),
    "a chain of a thousand extends": (
        "services:\n" + "".join(f"  a{n}: {{extends: a{n + 1}}}\n" for n in range(1000)) + "  a1000: {image: x}\n",
        "services extend each other more than 150 deep",
    ),
    "twenty thousand mistakes": (
        "services:\n  a:\n    image: x\n" + "".join(f"    key{n}: 1\n" for n in range(20_000)),
        "and 19,000 problems more",
    ),
    "an env file without end": ("services: {a: {image: x, env_file: /dev/zero}}", "/dev/zero:1:1: the file is larger"),
    "a folder for an env file": ("services: {a: {image: x, env_file: /tmp}}", "open /tmp: is a directory"),
    "a label file that is not there": ("services: {a: {image: x, label_file: no}}", "bad.yaml:1:38: "),
}
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
from pycompose.__main__ import main
main()
"""


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_an_error_within_bounds(tmp_path: Path, name: str) -> None:
    content, said = BAD[name]
    path = tmp_path / "bad.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "-f", str(path), "-p", "p", "config", "-q"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert said in done.stderr
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
