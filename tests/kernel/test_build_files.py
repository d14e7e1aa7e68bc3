"""COPY, ADD, WORKDIR and what is remembered: which files come where, as whose, and when nothing is done again."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time

import pytest

from .build_tools import Builds, build

__all__ = ["build"]  # the fixture


def test_sources_come_where_the_reference_says(build: Builds) -> None:
    top = build.write({"a": "a", "b.txt": "b", "dir/x": "x", "dir/sub/y": "y", "sp ace": "s"})
    (top / "link").symlink_to("a")
    (top / "dir" / "inner").symlink_to("x")
    build(
        "FROM scratch\nCOPY a /file\nCOPY a /folder/\nCOPY dir /whole\nCOPY *.txt dir/s* /several/\nWORKDIR /w\n"
        'COPY a .\nCOPY ["sp ace", "/sp ace"]\nCOPY link /followed\nCOPY a b.txt ./rel/\nCOPY b.txt miss* /some/\n'
    )
    found = {path: what for number in range(len(build.layers())) for path, what in build.files(number).items()}
    assert {path for path, what in found.items() if not what.startswith("d")} == {
        "file",
        "folder/a",
        "whole/x",
        "whole/sub/y",
        "whole/inner",
        "several/b.txt",
        "several/y",
        "w/a",
        "sp ace",
        "followed",
        "w/rel/a",
        "w/rel/b.txt",
        "some/b.txt",
    }
    assert found["whole/inner"].startswith("l")
    assert found["followed"].startswith("f")
    assert all(found[name].startswith("d755 0:0") for name in ("w", "whole", "folder", "several"))


def test_owners_and_modes_can_be_said_and_are_roots_otherwise(build: Builds) -> None:
    top = build.write({"a": "a", "d/b": "b"})
    os.chown(top / "a", 77, 77)
    os.chmod(top / "a", 0o640)
    build(
        "FROM base\nCOPY a /plain\nCOPY --chown=app a /name\nCOPY --chown=5 a /number\n"
        "COPY --chown=root:1234 a /group\n"
        "COPY --chown=1:2 --chmod=0751 d /new/d\nCOPY --chmod=u=rwX,go=rX d /words\n"
    )
    found = {path: what.rsplit(" ", 1)[0] for number in range(1, 7) for path, what in build.files(number).items()}
    assert found["plain"] == "f640 0:0"
    assert found["name"] == "f640 1234:1234"
    assert found["number"] == "f640 5:5"
    assert found["group"].startswith("f640 0:")
    assert (found["new"], found["new/d"], found["new/d/b"]) == ("d755 1:2", "d751 1:2", "f751 1:2")
    assert (found["words"], found["words/b"]) == ("d755 0:0", "f644 0:0")


def test_a_folder_of_the_image_keeps_its_owner_and_a_link_is_followed_inside_the_image(build: Builds) -> None:
    build(
        "FROM base\nRUN mkdir -p /real && chmod 0711 /real && ln -s /real /way && ln -s ../../../../etc /out\n"
        "COPY a /way/a\nCOPY d/ /way/\nCOPY a /out/escaped\n",
        **{"a": "a", "d/b": "b"},
    )
    assert build.files(2)["real"].startswith("d711")
    assert "real/a" in build.files(2)
    assert "real/b" in build.files(3)
    assert "etc/escaped" in build.files(4)
    assert not os.path.exists("/etc/escaped")


def test_files_of_a_stage_keep_their_owners_links_and_attributes(build: Builds) -> None:
    build(
        "FROM base AS s\nRUN mkdir /d && echo x > /d/one && ln /d/one /d/two && chmod 4755 /d/one && mv /bin/wc /d/wc\n"
        "FROM base\nCOPY --from=s /d /d\nCOPY --from=base /bin/cat /cat\nCOPY --from=0 /d/one /one\n"
    )
    layer = build.layers()[1] / "d"
    assert build.look("stat", "-c", "%h %a", str(layer / "one")) == "2 4755\n"
    assert "one" in build.files(3)


def test_what_dockerignore_leaves_out_is_not_there(build: Builds) -> None:
    files = {
        ".dockerignore": "*.log\nnode\n!node/keep\n.dockerignore\n",
        "a.log": "",
        "b": "",
        "node/x": "",
        "node/keep": "",
    }
    build("FROM scratch\nCOPY . /\n", **files)
    assert set(build.files()) == {"Dockerfile", "b", "node", "node/keep"}
    assert "is not in the build context" in build.fails("FROM scratch\nCOPY a.log /\n", **files)


def test_a_dockerfile_of_another_name_has_a_dockerignore_of_its_own(build: Builds) -> None:
    top = build.write(
        {"D": "FROM scratch\nCOPY . /\n", "D.dockerignore": "b\nD*\n", ".dockerignore": "a\n", "a": "", "b": ""}
    )
    build.run("image", "build", "-t", "built", "-f", str(top / "D"), str(top))
    assert set(build.files()) == {".dockerignore", "a"}


def test_excludes_and_parents(build: Builds) -> None:
    files = {"x/a.txt": "", "x/b.md": "", "x/y/c.md": "", "z/d.txt": ""}
    build(
        "FROM scratch\nCOPY --exclude=*.md --exclude=y x /x\nCOPY --parents x/a.txt z/d.txt /p/\n"
        "COPY --parents x/./y/c.md /q/\nCOPY --parents **/*.md /r/\n",
        **files,
    )
    names = [{p for p, what in build.files(n).items() if what[0] == "f"} for n in range(4)]
    assert names == [{"x/a.txt"}, {"p/x/a.txt", "p/z/d.txt"}, {"q/y/c.md"}, {"r/x/b.md", "r/x/y/c.md"}]


def test_here_documents_are_files(build: Builds) -> None:
    build("FROM scratch\nENV X=y\nCOPY <<ONE <<'TWO' /d/\n'$X'\nONE\n$X\nTWO\nCOPY <<-EOF /e\n\ttabbed\nEOF\n")
    assert build.content("d/ONE") == "'y'\n"
    assert build.content("d/TWO") == "$X\n"
    assert build.content("e") == "tabbed\n"
    assert build.files()["e"].startswith("f644 0:0")


def tar_of(*names: str, mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size, entry.uid = 1, 42
            tar.addfile(entry, io.BytesIO(b"x"))
    return out.getvalue()


def test_archives_are_unpacked_by_add_alone(build: Builds) -> None:
    build.write(
        {"a.tar.gz": tar_of("in/x"), "b.tar.xz": tar_of("y", mode="w:xz"), "c.tar.bz2": tar_of("z", mode="w:bz2")}
    )
    build.write({"plain.txt": "no archive", "fake.tar": "no archive"})
    build(
        "FROM scratch\nADD a.tar.gz b.tar.xz c.tar.bz2 plain.txt fake.tar /un/\nCOPY a.tar.gz /kept\n"
        "ADD --unpack=false a.tar.gz /too\n"
    )
    assert {"un/in/x", "un/y", "un/z", "un/plain.txt", "un/fake.tar"} < set(build.files(0))
    assert build.files(0)["un/in/x"].split()[1] == "42:0"
    assert set(build.files(1)) == {"kept"}
    assert set(build.files(2)) == {"too"}


def test_an_archive_copied_is_not_taken_for_the_same_one_unpacked(build: Builds) -> None:
    build.write({"a.tar.gz": tar_of("x")})
    for instruction, name in (("ADD", "x"), ("COPY", "a.tar.gz"), ("ADD --unpack=0", "a.tar.gz"), ("ADD", "x")):
        build(f"FROM scratch\n{instruction} a.tar.gz /to/\n")
        assert set(build.files(0)) == {"to", f"to/{name}"}


@pytest.mark.parametrize("flag", ["unpack", "keep-git-dir"])
def test_a_switch_of_add_is_true_or_false(build: Builds, flag: str) -> None:
    build.write({"a": "a"})
    assert f"--{flag}=maybe: true or false is wanted" in build.fails(f"FROM scratch\nADD --{flag}=maybe a /\n")


@pytest.mark.parametrize("source", ["a", "https://127.0.0.1/a.git"])
def test_a_checksum_that_nobody_would_check_is_refused(build: Builds, source: str) -> None:
    build.write({"a": "a"})
    wrong = build.fails(f"FROM scratch\nADD --checksum=sha256:{'0' * 64} {source} /x\n")
    assert f"--checksum cannot be of {source}" in wrong


def test_a_hostile_archive_ends_the_build(build: Builds) -> None:
    build.write({"a.tar": tar_of("../../escaped", mode="w")})
    assert "Dockerfile:2: " in build.fails("FROM scratch\nADD a.tar /a/b/\n")


def test_urls_are_fetched_checked_and_for_root_alone(build: Builds) -> None:
    web = build.write({"f.txt": "from the web", "a.tar.gz": tar_of("x")}, "web")
    server = build.machine.python(
        "import http.server, os, sys, threading\n"
        f"os.chdir({str(web)!r})\n"
        "s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n"
        "threading.Thread(target=s.serve_forever, daemon=True).start()\n"
        "u = f'http://127.0.0.1:{s.server_port}'\n"
        "import hashlib, subprocess\n"
        f"sha = hashlib.sha256(open({str(web / 'f.txt')!r}, 'rb').read()).hexdigest()\n"
        f"top = {str(build.write({}))!r}\n"
        "def go(text):\n"
        "    open(top + '/Dockerfile', 'w').write(text)\n"
        "    return subprocess.run([sys.executable, '-m', 'pycompose', 'image', 'build', '-t', 'built', top],"
        " capture_output=True, text=True)\n"
        "ok = go(f'FROM scratch\\nADD --checksum=sha256:{sha} {u}/f.txt /g/\\nADD {u}/a.tar.gz /h/\\n')\n"
        "print(ok.stderr); assert ok.returncode == 0, ok.stderr\n"
        "bad = go(f'FROM scratch\\nADD --checksum=sha256:{\"0\" * 64} {u}/f.txt /g/\\n')\n"
        "assert bad.returncode == 1 and 'not sha256:0000' in bad.stderr, bad.stderr\n"
        "gone = go(f'FROM scratch\\nADD {u}/nothing /g/\\n')\n"
        "assert gone.returncode == 1 and 'File not found' in gone.stderr, gone.stderr\n"
    )
    assert "Traceback" not in server.stderr
    assert build.files(0)["g/f.txt"].startswith("f600 0:0")
    assert "h/a.tar.gz" in build.files(1)


def test_nothing_above_the_context_can_be_had(build: Builds) -> None:
    top = build.write({"a": "a"})
    (build.folder / "outside").write_text("secret")
    (top / "up").symlink_to("../outside")
    (top / "far").symlink_to("/etc/passwd")
    for source in ("../outside", "a/../../outside", "/../outside"):
        said = build.fails(f"FROM scratch\nCOPY {source} /x\n")
        assert "Dockerfile:2: " in said
        assert "outside of what can be copied" in said
    for source in ("up", "far"):
        assert f"'{source}' is not in the build context" in build.fails(f"FROM scratch\nCOPY {source} /x\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("COPY a b /file", "several files need a folder"),
        ("COPY nothing /x", "'nothing' is not in the build context"),
        ("COPY a", "needs at least a source and a destination"),
        ("COPY --from=localhost:1/nothing a /x", "localhost:1: "),
        ("COPY --odd a /x", "COPY does not know --odd"),
        ("ADD --from=x a /x", "ADD does not know --from"),
        ("COPY --chmod=9 a /x", "--chmod=9"),
        ("COPY --chown=nobody-here a /x", "nobody-here"),
        ("COPY --link=perhaps a /x", "true or false"),
        ("COPY a /bin/sh/x", "is a file in the image"),
        ("COPY a /bin", ""),
        ("WORKDIR", "WORKDIR needs"),
    ],
)
def test_what_cannot_be_copied_is_told_with_its_line(build: Builds, line: str, message: str) -> None:
    if not message:
        build(f"FROM base\n{line}\n", a="a")
        return
    said = build.fails(f"FROM base\n{line}\n", a="a", b="b")
    assert "Dockerfile:2: " in said
    assert message in said


def test_patterns_that_match_nothing_copy_nothing_and_say_so(build: Builds) -> None:
    said = build("FROM base\nCOPY no*.txt /x/\nCOPY no*.txt a /y/\n", a="a")
    assert said.count("matches no file") == 1
    assert "copies nothing" in said
    assert "y/a" in build.files()


def cached(said: str) -> list[bool]:
    """Of each step but FROM: whether it was remembered."""
    lines = said.splitlines()
    return [
        f"{one.split()[0]} CACHED" in lines for one in lines if one[:1] == "#" and "] " in one and "FROM" not in one
    ]


FOUR = "FROM base\nCOPY a /a\nRUN echo ran; cat /a > /b\nCOPY c /c\nRUN echo ran; cat /c > /d\n"


def test_a_second_build_runs_nothing_and_is_the_same_image(build: Builds) -> None:
    build(FOUR, a="a", c="c")
    first = build.image()["Id"]
    os.utime(build.folder / "context" / "a", (1, 1))  # a time alone changes nothing
    said = build(FOUR)
    assert cached(said) == [True] * 4
    assert "ran" not in said.replace("echo ran", "")
    assert build.image()["Id"] == first


def test_a_changed_file_runs_again_only_what_follows(build: Builds) -> None:
    build(FOUR, a="a", c="c")
    assert cached(build(FOUR, c="changed")) == [True, True, False, False]
    assert build.content("d") == "changed"
    assert cached(build(FOUR, a="changed")) == [False, False, False, False]
    assert cached(build(FOUR, a="a", c="c")) == [True] * 4
    os.chmod(build.folder / "context" / "c", 0o755)
    assert cached(build(FOUR)) == [True, True, False, False]


def test_a_stage_that_comes_out_the_same_changes_nothing_after_it(build: Builds) -> None:
    text = (
        "FROM base AS s\nCOPY in /in\nRUN head -n 1 /in > /out\nFROM base\nCOPY --from=s /out /out\nRUN cat /out > /x\n"
    )
    build(text, **{"in": "same\nfirst\n"})
    assert cached(build(text, **{"in": "same\nsecond\n"})) == [False, False, True, True]


def test_nothing_remembered_is_taken_where_it_is_not_wanted(build: Builds) -> None:
    text = "FROM base AS one\nRUN echo 1 > /a\nFROM base AS two\nCOPY --from=one /a /\nRUN echo 2 > /b\n"
    build(text)
    assert cached(build(text, "--no-cache")) == [False, False, False]
    assert cached(build(text, "--no-cache-filter", "one"))[0] is False


def test_an_argument_runs_again_only_what_can_see_it(build: Builds) -> None:
    text = "FROM base\nRUN echo before > /a\nARG X=1\nRUN echo $X > /b\n"
    build(text)
    assert cached(build(text, "--build-arg", "X=2")) == [True, False]
    assert build.content("b") == "2\n"
    said = build(text, "--build-arg", "UNKNOWN=2")
    assert "no ARG asks for the build arguments UNKNOWN" in said


def test_proxies_reach_steps_and_change_nothing(build: Builds) -> None:
    text = "FROM base\nRUN echo proxy $http_proxy > /p\n"
    assert build.machine.environment is not None
    build(text, "--build-arg", "http_proxy=http://one")
    assert build.content("p") == "proxy http://one\n"
    assert cached(build(text, "--build-arg", "http_proxy=http://two")) == [True]
    assert "http://one" not in json.dumps(build.image()["Config"])


def test_a_linked_copy_does_not_depend_on_what_is_below(build: Builds) -> None:
    build("FROM base\nRUN echo 1 > /x\nCOPY --link a /a\n", a="a")
    assert cached(build("FROM base\nRUN echo 2 > /x\nCOPY --link a /a\n")) == [False, True]


def test_an_image_says_what_was_remembered_for_it(build: Builds) -> None:
    text = "FROM base\nRUN echo 1 > /x\n"
    build(text)
    build.machine.run("sh", "-c", f"rm {build.machine.state}/images/cache/*")
    assert cached(build(text)) == [False]
    build.machine.run("sh", "-c", f"rm {build.machine.state}/images/cache/*")
    assert cached(build(text, "--cache-from", "built")) == [True]


def test_the_same_inputs_give_the_same_digest(build: Builds) -> None:
    text = "FROM base\nRUN mkdir -p /d/e && echo x > /d/e/f && ln /d/e/f /d/g\nCOPY a /new/folder/a\nWORKDIR /made\n"
    build(text, "--build-arg", "SOURCE_DATE_EPOCH=1000", a="a")
    first = build.image()
    layer = build.layers()[1]
    assert set(build.look("find", str(layer), "-mindepth", "1", "-printf", "%T@\\n").split()) == {"1000.0000000000"}
    time.sleep(1.1)  # the clock has to go on for its time to be another
    build(text, "--build-arg", "SOURCE_DATE_EPOCH=1000", "--no-cache")
    assert build.image()["Id"] == first["Id"]
    assert first["Created"] == "1970-01-01T00:16:40Z"


def test_triggers_of_the_base_run_first(build: Builds) -> None:
    top = build.write(
        {"Dockerfile": "FROM base\nONBUILD COPY a /from-trigger\nONBUILD RUN echo triggered > /t\n"}, "parent"
    )
    build.run("image", "build", "-t", "parent", str(top))
    build("FROM parent\nRUN cat /t /from-trigger\n", a="a")
    assert build.content("t") == "triggered\n"
    assert "OnBuild" not in build.image()["Config"]


def test_contexts_come_from_tars_standard_input_and_git(build: Builds) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, text in (("Dockerfile", b"FROM scratch\nCOPY a /a\n"), ("a", b"in a tar")):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    (build.folder / "context.tar.gz").write_bytes(data.getvalue())
    build.run("image", "build", "-t", "built", str(build.folder / "context.tar.gz"))
    assert build.content("a") == "in a tar"
    build.machine.run(
        "sh", "-c", f"{sys.executable} -m pycompose image build -t piped - < {build.folder}/context.tar.gz"
    )
    assert build.content("a", "piped") == "in a tar"
    build.run("image", "build", "-t", "alone", "-", input="FROM base\nRUN echo alone > /x\n")
    assert build.content("x", "alone") == "alone\n"
    top = build.write({"a": "in a folder"})
    build.run("image", "build", "-t", "piped", "-f", "-", str(top), input="FROM scratch\nCOPY a /a\n")
    assert build.content("a", "piped") == "in a folder"


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed: apt-get install git")
def test_a_git_repository_is_a_context_and_a_source(build: Builds) -> None:
    top = build.write({"sub/Dockerfile": "FROM scratch\nCOPY a /a\n", "sub/a": "in git"}, "repository.git")
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["-c", "user.name=n", "-c", "user.email=e@x", "commit", "-qm", "m"],
        ["tag", "v1"],
        ["update-server-info"],
    ):
        subprocess.run(["git", "-C", str(top), *words], check=True)
    served = (
        "import http.server, os, sys, threading, subprocess\n"
        f"os.chdir({str(build.folder)!r})\n"
        "class Quiet(http.server.SimpleHTTPRequestHandler):\n    def log_message(self, *a): pass\n"
        "s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Quiet)\n"
        "threading.Thread(target=s.serve_forever, daemon=True).start()\n"
        "u = f'http://127.0.0.1:{s.server_port}/repository.git/.git'\n"
        "go = lambda *a, **k: subprocess.run([sys.executable, '-m', 'pycompose', 'image', 'build', *a],"
        " check=True, text=True, **k)\n"
        "go('-t', 'built', u + '#v1:sub')\n"
        "go('-t', 'added', '-', input=f'FROM scratch\\nADD {u}#main /src/\\n')\n"
    )
    build.machine.python(served)
    assert build.content("a") == "in git"
    assert build.content("src/sub/a", "added") == "in git"


def test_further_contexts_are_folders_and_images(build: Builds) -> None:
    other = build.write({"x": "other"}, "other")
    build(
        "FROM renamed\nCOPY --from=more x /x\nCOPY --from=renamed /bin/cat /cat\n",
        "--build-context",
        f"more={other}",
        "--build-context",
        "renamed=docker-image://base",
    )
    assert build.content("x") == "other"


def test_a_name_that_is_no_name_and_a_folder_that_is_not_there_are_errors(build: Builds) -> None:
    assert (
        "invalid reference format"
        in build.run(
            "image", "build", "-t", "A B", str(build.write({"Dockerfile": "FROM scratch\nLABEL a=b"})), check=False
        ).stderr
    )
    assert "no such folder" in build.run("image", "build", "/no/such", check=False).stderr
    empty = build.write({"Containerfile": ""}, "empty")
    assert "-f Containerfile" in build.run("image", "build", str(empty), check=False).stderr
