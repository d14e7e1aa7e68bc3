"""The loader against files that nobody would write: run by hand, for as long as wanted.

    .venv/bin/python tests/compose/file/fuzz.py --seconds 600

A round takes one of the good files, changes its text or its data at random, beside a random `.env`, and loads it. What
loads is printed, loaded again, and must be the same. Anything but a FileError, or more than 2 s of a processor, is a
finding: it is printed with the seed of its round (`--seed N --rounds 1` plays it again) and its files are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / ".types"))

from pycompose.compose.file import show  # noqa: E402
from pycompose.compose.file.loader import Options, load  # noqa: E402
from pycompose.compose.file.reading import words  # noqa: E402
from pycompose.compose.file.service import ACTED, KEPT  # noqa: E402
from pycompose.compose.model.codec import from_json, to_json  # noqa: E402
from pycompose.compose.model.errors import FileError  # noqa: E402
from pycompose.compose.model.project import Project  # noqa: E402
from pycompose.compose.plan import graph  # noqa: E402
from pycompose.errors import PycomposeError  # noqa: E402

SLOW = 2.0  # seconds
WORDS = (
    *sorted(ACTED | KEPT),
    *words("services networks volumes configs secrets models include name version path file env_file service"),
    *words(
        "${A} ${A:-b} ${A:?no} $$ $ ${ $A ${A:-${B:-c}} ${B+x} ~ null true yes 0 -1 1e400 0x_ 999999999999999999999"
    ),
    *words("1m 10x 1h30m -5s 1.5gb 80:80 1-5:1-5 ::1:80:80 host service:a service:b container:x no on-failure:99"),
    *words("a b web db default ../x /abs ./rel ~/home f.yaml main.yaml e.env x-a <<"),
    *("", " ", "é", "🐳", "a" * 300, "\\", "'", '"'),
)
TOKENS = (
    *("{", "}", "[", "]", ":", ": ", "- ", ",", "&a ", "*a", "<<: *a", "!reset ", "!override ", "!!str ", "|\n  x"),
    *("---\n", "#", "\t", "\n", "\r\n", "? ", "\x00", "\x07", "\ufeff", "\u2028", '"', "'", "%YAML 1.1\n"),
)


Seed = tuple[str, Any]  # a good file, and its data


def seeds() -> list[Seed]:
    paths = [*HERE.glob("files/*.yaml"), *ROOT.glob("examples/**/*.yaml")]
    found = []
    for path in paths:
        try:
            documents = list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))
        except yaml.YAMLError:  # !reset and the like
            continue
        if len(documents) == 1 and "services" in documents[0]:
            found.append((path.read_text(), documents[0]))
    return found


def value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(9 if depth < 3 else 6)
    if kind < 3:
        return chance.choice(WORDS)
    if kind == 3:
        return chance.choice((0, 1, -1, 2**70, 1.5, True, False, None))
    if kind < 6:
        return chance.choice(WORDS) + chance.choice((":", "=", "/", "-", "")) + chance.choice(WORDS)
    if kind == 6:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(WORDS): value(chance, depth + 1) for _ in range(chance.randrange(4))}


def changed_data(data: Any, chance: random.Random) -> Any:
    """The data with one node somewhere replaced, added, doubled or taken away."""
    if isinstance(data, dict) and data and chance.random() < 0.9:
        made = dict(data)
        key = chance.choice(list(made))
        match chance.randrange(8):
            case 0:
                made[chance.choice(WORDS)] = value(chance)
            case 1:
                made[chance.choice(WORDS)] = made.pop(key)
            case 2:
                del made[key]
            case _:
                made[key] = changed_data(made[key], chance)
        return made
    if isinstance(data, list) and data and chance.random() < 0.9:
        made_list = list(data)
        index = chance.randrange(len(made_list))
        match chance.randrange(6):
            case 0:
                made_list.insert(index, value(chance))
            case 1:
                made_list.append(made_list[index])
            case _:
                made_list[index] = changed_data(made_list[index], chance)
        return made_list
    return value(chance)


def fewer(data: Any, chance: random.Random) -> Any:
    """A part of the services' attributes, so that a round is short and more of them load."""
    share = chance.choice((0.1, 0.3, 0.7, 1.0))
    services = {
        name: {key: one for key, one in service.items() if key == "image" or chance.random() < share}
        for name, service in data["services"].items()
    }
    return {**data, "services": services}


def changed_text(text: str, chance: random.Random) -> str:
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at, other = sorted((chance.randrange(len(text) + 1), chance.randrange(len(text) + 1)))
        match chance.randrange(6):
            case 0:
                text = text[:at] + chance.choice(TOKENS) + text[at:]
            case 1:
                text = text[:at] + chance.choice(WORDS) + text[at:]
            case 2:
                text = text[:at] + text[min(other, at + 40) :]
            case 3:
                text = text[:at] + text[at : at + 60] + text[at:]
            case 4:
                lines = text.splitlines(True)
                chance.shuffle(lines[: len(lines) // 2])
                text = "".join(lines)
            case _:
                text = text[:at] + chr(chance.choice((chance.randrange(32, 127), chance.randrange(0x3000)))) + text[at:]
    return text


def made_file(chance: random.Random, known: list[Seed]) -> bytes:
    text, data = chance.choice(known)
    if chance.random() < 0.6:
        data = fewer(data, chance)
        for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
            data = changed_data(data, chance)
        try:
            text = json.dumps(data, indent=1) if chance.random() < 0.5 else yaml.dump(data, Dumper=yaml.CSafeDumper)
        except (TypeError, yaml.YAMLError):
            text = str(data)
    else:
        text = changed_text(text, chance)
    data_bytes = text.encode("utf-8", "surrogatepass")
    if chance.random() < 0.03:
        at = chance.randrange(len(data_bytes) + 1)
        data_bytes = data_bytes[:at] + bytes([chance.randrange(256)]) + data_bytes[at:]
    return data_bytes


def one_round(seed: int, folder: Path, known: list[Seed]) -> bool:
    """True when it loaded. Raises what is a finding."""
    chance = random.Random(seed)
    for name in ("main.yaml", "f.yaml", "over.yaml"):
        (folder / name).write_bytes(made_file(chance, known))
    if chance.random() < 0.3:
        lines = (
            "include: [f.yaml]",
            "include: [{path: [f.yaml, over.yaml], env_file: web.env}]",
            "include: [main.yaml]",
        )
        with (folder / "main.yaml").open("a") as file:  # of JSON and of much else this makes nonsense, which is welcome
            file.write(f"\n---\n{chance.choice(lines)}\nservices: {{z: {{extends: {{service: web, file: f.yaml}}}}}}\n")
    (folder / ".env").write_text(changed_text("A=1\nB='x'\nC=\"${A} y\"\n", chance), errors="surrogatepass")
    (folder / "web.env").write_text("X=$A\nY\n")
    (folder / "web.labels").write_text("a=b\n")
    files = ("main.yaml", "over.yaml") if chance.random() < 0.3 else ("main.yaml",)
    environ = {"A": "a", "COMPOSE_PROFILES": chance.choice(("", "*"))}
    begin = time.process_time()
    try:
        found = load(Options(files=tuple(str(folder / f) for f in files), project_name="p", environ=environ))
    except FileError as error:
        if not all(p.message and (p.position is None or p.position.line >= 1) for p in error.problems):
            raise ValueError("a problem that says nothing") from error
        return False
    finally:
        took = time.process_time() - begin
        if took > SLOW:
            raise TimeoutError(f"loading took {took:.1f} s")
    graph.levels(found.project)
    assert from_json(Project, to_json(found.project)) == found.project, "its record is another project"
    shown = (show.to_yaml if chance.random() < 0.5 else show.to_json)(found.tree)
    (folder / "again.yaml").write_text(shown)
    again = load(
        Options(files=(str(folder / "again.yaml"),), project_name="p", environ={"A": "a", "COMPOSE_PROFILES": "*"})
    )
    if again.tree != found.tree:
        raise ValueError("what is shown is another project: " + difference(found.tree, again.tree))
    return True


def difference(one: Any, other: Any, path: str = "") -> str:
    """The first place where two trees differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            if one.get(key) != other.get(key) or (key in one) != (key in other):
                return difference(one.get(key), other.get(key), f"{path}.{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return next(difference(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
    return f"{path}: {one!r} != {other!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=1 << 62)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    first = arguments.seed if arguments.seed is not None else int.from_bytes(os.urandom(4))
    known, until = seeds(), time.monotonic() + arguments.seconds
    rounds = loaded = findings = 0
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # opening files is most of a round elsewhere
    with tempfile.TemporaryDirectory(dir=memory) as name:
        while rounds < arguments.rounds and time.monotonic() < until:
            seed = first + rounds
            rounds += 1
            try:
                loaded += one_round(seed, Path(name), known)
            except (Exception, RecursionError) as error:
                findings += 1
                kept = Path(tempfile.mkdtemp(prefix=f"fuzz-{seed}-"))
                for path in Path(name).iterdir():
                    (kept / path.name).write_bytes(path.read_bytes())
                print(f"seed {seed}: {type(error).__name__}: {error} (files in {kept})")
                if not isinstance(error, PycomposeError):
                    traceback.print_exc(limit=-4)
    print(f"{rounds} rounds from seed {first}: {loaded} loaded, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
