"""Modules that are put off are what they are once they are used, and cost nothing before."""

from __future__ import annotations

import subprocess
import sys


def outcome(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


BEGINNING = "import sys; from pycompose.late_modules import put_off; "


def test_nothing_is_imported_before_it_is_used() -> None:
    code = BEGINNING + "put_off('inspect'); import inspect, dataclasses; print('ast' in sys.modules)"
    assert outcome(code) == "False"


def test_whoever_uses_it_has_the_real_one() -> None:
    code = BEGINNING + (
        "put_off('inspect'); import inspect as early; print(early.signature(len)); import inspect;"
        "print(inspect is early, inspect.isclass is early.isclass); from inspect import isclass; print(isclass(int))"
    )
    assert outcome(code).split("\n") == ["(obj, /)", "False True", "True"]


def test_a_name_is_imported_from_one_that_is_put_off() -> None:
    assert outcome(BEGINNING + "put_off('uuid'); from uuid import UUID; print(UUID.__module__)") == "uuid"


def test_what_is_imported_already_stays() -> None:
    assert outcome("import inspect; " + BEGINNING + "put_off('inspect'); print(inspect is sys.modules['inspect'])") == (
        "True"
    )


def test_content_needs_no_import() -> None:
    code = "put_off('uuid', UUID=int); from uuid import UUID; print(UUID is int, 'platform' in sys.modules)"
    assert outcome(BEGINNING + code) == "True False"


def test_a_module_of_a_package_is_put_off() -> None:
    code = (
        "put_off('ctypes.util', find_library=str); import ctypes.util; print(ctypes.util.find_library('x'));"
        "print('shutil' in sys.modules, ctypes.util.os.name)"
    )
    assert outcome(BEGINNING + code).split("\n") == ["x", "False posix"]


def test_click_is_itself_without_them() -> None:
    code = (
        "import sys; from pycompose.compose.cli.light_click import import_click, put_off_inspect;"
        "put_off_inspect(); import_click(); import click;"
        "option = click.Option(['--long'], help='  One line ');"
        "print(repr(option.help), 'tokenize' in sys.modules, 'platform' in sys.modules, 'locale' in sys.modules);"
        "option = click.Option(['--long'], help='\\n  Two\\n    lines\\n  ');"
        "import uuid, gettext;"
        "print(repr(option.help), type(click.UUID('0' * 32)) is uuid.UUID, gettext.ngettext('one', 'two', 2))"
    )
    assert outcome(code).split("\n") == ["'One line ' False False False", "'Two\\n  lines' True two"]
