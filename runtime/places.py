"""Places of files and sockets on this machine. Paths are values: nothing else in the project spells a folder of ours.

    state (/var/lib/pycompose, 0700)       survives a reboot
      images/                              the image store (`runtime.images`)
      volumes/<name>/{volume.json,_data}   named and anonymous volumes
      networks/<name>/…                    kept by `network`
      init-layer/                          the shared topmost lower layer
      remote/                              compose files of registries and git repositories, as fetched
      names/                               whose the name of a container is
      projects/<project>/
        generations/<hash>.json            resolved projects, as `compose` wrote them
        containers/<id>/                   one container: config.json, state.json, exit.json, log, upper/, work/, etc/
    run (/run/pycompose, 0700)             does not
      <project>/ lock · keeper.sock · store.sock · control.sock · keeper.lock · keeper.log · supervisor.log ·
                 supervisor.json · <id>.output · <id>.stream

Rules: no code but path arithmetic, and keeping both roots to ourselves. `PYCOMPOSE_STATE` and `PYCOMPOSE_RUN` move the
roots (for tests and, later, rootless use).
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from pycompose.frozen import dataclass

STATE = "/var/lib/pycompose"
RUN = "/run/pycompose"
UNFINISHED = (".new-", ".gone-")  # before the name of a volume that is being made or removed


@dataclass(frozen=True, slots=True)
class ProjectPlaces:
    """Folders of one project; `state` and `run` are absolute."""

    project: str
    state: str
    run: str

    def claim(self) -> None:
        """As `Places.claim`, of the roots that this project lies in. Raises OSError."""
        Places(os.path.dirname(os.path.dirname(self.state)), os.path.dirname(self.run)).claim()

    @property
    def generations(self) -> str:
        return f"{self.state}/generations"

    @property
    def containers(self) -> str:
        return f"{self.state}/containers"

    @property
    def joins(self) -> str:
        """There where a container of the project was made to share with one that it names (`container:NAME`)."""
        return f"{self.state}/joins"

    def container(self, container_id: str) -> str:
        return f"{self.state}/containers/{container_id}"

    def donor(self, reference: str) -> str:
        """The folder of a container whose namespaces another has: of this project by its id, else PROJECT/ID."""
        project, _, container_id = reference.rpartition("/")
        whose = f"{os.path.dirname(self.state)}/{project}" if project else self.state
        return f"{whose}/containers/{container_id}"

    @property
    def lock(self) -> str:
        return f"{self.run}/lock"

    @property
    def keeper_socket(self) -> str:
        return f"{self.run}/keeper.sock"

    @property
    def keeper_lock(self) -> str:
        return f"{self.run}/keeper.lock"

    @property
    def keeper_log(self) -> str:
        return f"{self.run}/keeper.log"

    @property
    def store_socket(self) -> str:
        return f"{self.run}/store.sock"

    @property
    def supervisor_log(self) -> str:
        return f"{self.run}/supervisor.log"

    @property
    def supervisor_record(self) -> str:
        return f"{self.run}/supervisor.json"

    def output(self, container_id: str) -> str:
        """Where a container's output lies on its way into the log."""
        return f"{self.run}/{container_id}.output"

    def stream(self, container_id: str) -> str:
        """The last of a container's output of which no log is kept, for who is attached to it."""
        return f"{self.run}/{container_id}.stream"

    @property
    def control_socket(self) -> str:
        return f"{self.run}/control.sock"


@dataclass(frozen=True, slots=True)
class Places:
    state: str = STATE
    run: str = RUN

    @classmethod
    def default(cls) -> Places:
        """The roots that the environment names, or the usual ones; mended, so that every start of ours does it."""
        places = cls(os.environ.get("PYCOMPOSE_STATE", STATE), os.environ.get("PYCOMPOSE_RUN", RUN))
        places.mend()
        return places

    def claim(self) -> None:
        """Make the roots where they are missing; nobody else may enter them. Raises OSError.

        Under them lie programs that other systems trust: setuid ones, which a container has left in a volume.
        """
        for root in (self.state, self.run):
            os.makedirs(root, mode=0o700, exist_ok=True)
            _keep_to_ourselves(root, required=True)

    def mend(self) -> None:
        """Close the roots that are there to everybody else: what an earlier version, or somebody's chmod, left open."""
        for root in (self.state, self.run):
            with suppress(OSError):
                _keep_to_ourselves(root, required=False)

    def project(self, name: str) -> ProjectPlaces:
        return ProjectPlaces(name, f"{self.state}/projects/{name}", f"{self.run}/{name}")

    @property
    def projects(self) -> str:
        return f"{self.state}/projects"

    @property
    def images(self) -> str:
        return f"{self.state}/images"

    @property
    def volumes(self) -> str:
        return f"{self.state}/volumes"

    @property
    def networks(self) -> str:
        return f"{self.state}/networks"

    @property
    def names(self) -> str:
        return f"{self.state}/names"

    @property
    def init_layer(self) -> str:
        return f"{self.state}/init-layer"


def _keep_to_ourselves(root: str, *, required: bool) -> None:
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(folder)
        if status.st_uid != os.geteuid():
            if required:  # who owns it can put anything into our way
                raise PermissionError(errno.EPERM, f"it belongs to user {status.st_uid}, not to this one", root)
        elif stat.S_IMODE(status.st_mode) & 0o077:
            os.fchmod(folder, 0o700)
    finally:
        os.close(folder)
