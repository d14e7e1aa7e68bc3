"""Extensions of ours: `x-pycompose`, at the top of a file or in a service. Other programs leave it alone.

x-pycompose:
  host:
    show: [/srv/certificates]    paths of this machine that a container of the image `host` sees, though they are
                                 hidden from it otherwise
  replica_identity: true         each replica finds its project, service, number and name in its environment, and its
                                 name is its hostname
  restart: unhealthy             a container that becomes unhealthy is stopped, and started again as if it had failed
"""

from __future__ import annotations

import posixpath

from .reading import Section
from .source import Seq, Text

KEY = "x-pycompose"


def host_show(section: Section) -> tuple[str, ...]:
    """The paths of `host.show`, absolute; what is wrong is told with its place."""
    if (ours := _ours(section)) is None:
        return ()
    host = Section(section.reading, ours.map.get("host"), f'"host" of {ours.name}', ours.at("host"))
    host.check_keys(("show",))
    paths, listed = [], host.map.get("show")
    for path in host.texts("show"):
        if path.startswith("/"):
            paths.append(posixpath.normpath("/" + path.lstrip("/")))
            continue
        items = listed if isinstance(listed, Seq) else [listed]
        at = next((item.at for item in items if isinstance(item, Text) and item == path), None)
        message = f'"{path}" in "show" of {host.name} is not an absolute path'
        host.reading.problem(message, at or host.at("show"), "the project's own folder is shown anyway")
    return tuple(paths)


def replica_identity(section: Section) -> bool:
    ours = _ours(section)
    return ours is not None and ours.flag("replica_identity")


def restarts_unhealthy(section: Section) -> bool:
    """Whether `restart: unhealthy` is asked for."""
    ours = _ours(section)
    return ours is not None and ours.choice("restart", ("unhealthy",)) is not None


def _ours(section: Section) -> Section | None:
    if KEY not in section:
        return None
    return Section(section.reading, section.map[KEY], f'"{KEY}" of {section.name}', section.at(KEY))
