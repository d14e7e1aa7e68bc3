"""Who a process is, as the image's own files say."""

from __future__ import annotations

import pytest
from pycompose.runtime.init.users import LIMIT, Identity, UserError, resolve

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
web:x:33:33:web:/srv:/bin/sh
7:x:70:71:digits:/seven:/bin/sh
# no:x:1:1::/:
bad
"""
GROUP = b"root:x:0:\nweb:x:33:\nlog:x:4:web,root\nadm:x:5:other,web\n"


@pytest.mark.parametrize(
    ("username", "extra", "identity"),
    [
        ("", (), Identity(0, 0, (0, 4), "/root")),
        ("web", (), Identity(33, 33, (33, 4, 5), "/srv")),
        ("33", (), Identity(33, 33, (33, 4, 5), "/srv")),
        ("web:log", (), Identity(33, 4, (4,), "/srv")),
        ("web:77", (), Identity(33, 77, (77,), "/srv")),
        ("1000", (), Identity(1000, 0, (0,), "/")),
        ("1000:1000", ("adm", "9"), Identity(1000, 1000, (1000, 5, 9), "/")),
        ("7", (), Identity(70, 71, (71,), "/seven")),
        (str(LIMIT), (), Identity(LIMIT, 0, (0,), "/")),
        (":log", (), Identity(0, 4, (4,), "/root")),
    ],
)
def test_a_user_is_found(username: str, extra: tuple[str, ...], identity: Identity) -> None:
    assert resolve(PASSWD, GROUP, username, extra) == identity


@pytest.mark.parametrize(
    ("username", "text"),
    [
        ("nobody", 'no user "nobody"'),
        ("web:nobody", 'no group "nobody"'),
        (str(LIMIT + 1), "out of range"),
        ("99999999999999999999", "out of range"),
        (f"0:{LIMIT + 1}", "out of range"),
        ("-1", 'no user "-1"'),
        ("٣", "no user"),
    ],
)
def test_a_user_that_cannot_be_had_is_told(username: str, text: str) -> None:
    with pytest.raises(UserError, match=text):
        resolve(PASSWD, GROUP, username)


def test_a_number_needs_no_file() -> None:
    assert resolve(b"", b"", "5:6") == Identity(5, 6, (6,), "/")


def test_bytes_that_are_no_text_are_survived() -> None:
    assert resolve(b"\xff\xfe:x:1:1::/:\nweb:x:3:3::/w:", b"", "web").uid == 3
