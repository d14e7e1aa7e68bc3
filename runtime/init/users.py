"""The identity of a process: `user[:group]` looked up in the root's own /etc/passwd and /etc/group, never through NSS.

NSS loads libraries from the container (CVE-2019-14271). Numbers are decimal and at most 2**31-1 (CVE-2024-40635).
Bytes in, numbers out; an OSError of reading means an empty file.
"""

from __future__ import annotations

from pycompose.frozen import dataclass

LIMIT = 2**31 - 1
LARGEST = 1 << 20  # bytes of a passwd or group file


class UserError(ValueError):
    """The user or group cannot be had; the text says which."""


@dataclass(frozen=True, slots=True)
class Identity:
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def number(text: str) -> int | None:
    """The value of a decimal id, None for a name. Raises UserError for a number out of range."""
    if not text.isascii() or not text.isdigit():
        return None
    value = int(text) if len(text) < 12 else LIMIT + 1
    if value > LIMIT:
        raise UserError(f"id {text} is out of range")
    return value


def _rows(content: bytes, columns: int) -> list[list[str]]:
    rows = []
    for line in content.decode("utf-8", "surrogateescape").split("\n"):
        row = line.split(":")
        if len(row) >= columns and not line.startswith("#") and row[2].isascii() and row[2].isdigit():
            rows.append(row)
    return rows


def resolve(passwd: bytes, group: bytes, username: str, extra: tuple[str, ...] = ()) -> Identity:
    """`username` is "name", "name:group", "uid" or "uid:gid"; empty is root. Raises UserError."""
    people, groups = _rows(passwd, 6), _rows(group, 3)
    user, _, wanted = username.partition(":")
    user = user or "0"
    uid = number(user)
    row = next((row for row in people if row[0] == user), None)
    if row is None and uid is not None:
        row = next((row for row in people if number(row[2]) == uid), None)
    if row is None and uid is None:
        raise UserError(f'no user "{user}" in the image\'s /etc/passwd')
    if row is not None and (uid is None or row[0] == user):
        uid = number(row[2])
    gid = (number(row[3]) if row is not None else 0) or 0
    member: tuple[int, ...] = ()
    if wanted:
        gid = group_number(groups, wanted)
    elif row is not None:
        member = tuple(number(item[2]) or 0 for item in groups if len(item) > 3 and row[0] in item[3].split(","))
    assert uid is not None
    added = tuple(group_number(groups, name) for name in extra)
    return Identity(uid, gid, tuple(dict.fromkeys((gid, *member, *added))), row[5] if row is not None else "/")


def group_number(groups: list[list[str]], name: str) -> int:
    for row in groups:
        if row[0] == name:
            return number(row[2]) or 0
    value = number(name)
    if value is None:
        raise UserError(f'no group "{name}" in the image\'s /etc/group')
    return value
