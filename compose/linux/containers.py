"""Containers of one project on this machine: found by name or id, made, removed, renamed.

What is held in memory is rebuilt from the records on disk by `recover`. Errors are those of the folders below; whoever
has no such container gets HostError.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field

import trio
from pycompose import durable, shortages
from pycompose.compose.engine.host import HostError, HostNote
from pycompose.compose.model import replica
from pycompose.compose.model.codec import from_json, to_json
from pycompose.compose.model.fields import EMPTY
from pycompose.compose.model.observed import Label, ObservedContainer, OneOff, Supervision
from pycompose.compose.model.pre_start import KIND, hook_service
from pycompose.compose.model.project import Project, Service
from pycompose.compose.plan import divergence
from pycompose.compose.state.observe import SUPERVISION, Own
from pycompose.frozen import dataclass
from pycompose.runtime.client.sandboxes import Runtime, write_container
from pycompose.runtime.files.remove import discard
from pycompose.runtime.images.roots import root_for
from pycompose.runtime.images.store import Store
from pycompose.runtime.linux import seccomp
from pycompose.runtime.places import Places, ProjectPlaces
from pycompose.runtime.policy import profile
from pycompose.runtime.spec import Bundle, Mount, Process
from pycompose.runtime.spec import from_json as bundle_from_json
from pycompose.runtime.state import container_names, usage
from pycompose.runtime.state.container_record import read_container
from pycompose.runtime.state.volumes import VolumeError, Volumes

from . import container_labels, etc_files, network_spec, oci, service_mounts

NOBODY = Supervision()
LONGEST_CHAIN = 100  # of containers that share one's network namespace, each the next one's
GENERATIONS = 8  # projects that are kept in memory


@dataclass(slots=True)
class HeldContainer:
    """A container as this process knows it.

    A run begins with `began`; its start is told, then its end, and then it is `gone`: off its networks, and free to run
    again. Whoever waits for the end waits for that, so that no late end of one run touches the next.
    """

    id: str
    name: str
    service: str
    labelled: Own
    running: bool = False
    healthy: bool = False  # takes part in its service's ports
    address: str = ""  # its first
    exit_code: int | None = None
    oom_killed: bool = False
    oom_told: bool = False
    announced: trio.Event = field(default_factory=trio.Event)
    gone: trio.Event = field(default_factory=trio.Event)
    joined: bool = False  # on its networks
    networking: trio.Lock = field(default_factory=trio.Lock)  # held while it joins or leaves some
    removing: trio.Lock = field(default_factory=trio.Lock)
    removed: trio.Event = field(default_factory=trio.Event)

    @property
    def auto_remove(self) -> bool:
        return self.labelled.one_off is not None and self.labelled.one_off.auto_remove

    @property
    def is_replica(self) -> bool:
        """Whether it is one of its service, whom the monitor attends to: no hook's and no one-off container."""
        return self.labelled.hook is None and self.labelled.one_off is None

    def began(self) -> None:
        self.running, self.exit_code, self.oom_killed, self.oom_told = True, None, False, False
        self.announced, self.gone = trio.Event(), trio.Event()

    def ended(self) -> None:
        self.running = False
        self.announced.set()
        self.gone.set()


@dataclass(frozen=True, slots=True)
class _ContainerToMake:
    """A container to be made."""

    project: Project
    generation: str
    service: Service
    name: str
    number: int
    id: str
    shared: Mapping[str, str]  # namespace type -> the container that has it: its id, of another project PROJECT/ID
    inherited: Mapping[str, str]  # target -> anonymous volume of another container
    hook: int | None = None  # it is for that pre_start hook
    one_off: OneOff | None = None
    fresh: list[str] = field(default_factory=list)  # anonymous volumes that are made for it


@dataclass(frozen=True, slots=True)
class _MadeContainer:
    labelled: Own
    notes: tuple[HostNote, ...]


class Containers:
    def __init__(self, roots: Places, places: ProjectPlaces, runtime: Runtime) -> None:
        self.roots, self.places, self.runtime = roots, places, runtime
        self.store, self.volumes = Store(roots), Volumes(roots)
        self._by_name: dict[str, HeldContainer] = {}
        self._by_id: dict[str, HeldContainer] = {}
        self._projects: dict[str, Project] = {}  # by generation
        self._claims: set[str] = set()  # names of containers that are being made
        self._notes: dict[str, tuple[HostNote, ...]] = {}  # container -> what nobody has told yet

    def recover(self, observed: Sequence[ObservedContainer]) -> None:
        """Hold those that are on record, and sweep folders that were not made, or not removed, to the end."""
        self._by_id = {}
        for container in observed:
            held = self._by_id[container.id] = HeldContainer(
                container.id, container.name, container.service, Own.of(container.labels)
            )
            if container.status in ("running", "paused"):
                held.began()
                held.announced.set()
            else:
                held.ended()
                held.exit_code, held.oom_killed = container.exit_code, container.oom_killed
            container_names.keep(self.roots, container.name, self.places.project, container.id)
        self._by_name = {held.name: held for held in self._by_id.values()}
        with suppress(FileNotFoundError):
            for entry in os.listdir(self.places.containers):
                if entry not in self._by_id:
                    discard(self.places.container(entry))

    # who they are

    def get(self, name: str) -> HeldContainer | None:
        return self._by_name.get(name)

    def named(self, name: str) -> HeldContainer:
        """Raises HostError."""
        try:
            return self._by_name[name]
        except KeyError:
            raise HostError(f'no such container: "{name}"') from None

    def by_id(self, container_id: str) -> HeldContainer | None:
        return self._by_id.get(container_id)

    def all(self) -> list[HeldContainer]:
        return list(self._by_name.values())

    def of_service(self, service: str) -> list[HeldContainer]:
        """Its replicas."""
        return [held for held in self._by_name.values() if held.service == service and held.is_replica]

    def folder(self, held: HeldContainer) -> str:
        return self.places.container(held.id)

    def runs(self, held: HeldContainer) -> bool:
        """Whether its process lives, as its record says."""
        state = read_container(self.places, held.id)
        return state is not None and state.status in ("running", "paused")

    def project_of(self, held: HeldContainer) -> Project:
        """The project that it was made from. Raises HostError."""
        generation = held.labelled.generation
        if generation not in self._projects:
            try:
                with open(f"{self.places.generations}/{generation}.json", encoding="utf-8") as file:
                    project = from_json(Project, file.read())
            except (OSError, ValueError) as error:
                raise HostError(
                    f"the record of what {self.places.project} was made from cannot be read: {shortages.reason(error)}",
                    hint=shortages.hint(shortages.number(error)),
                ) from error
            if len(self._projects) > GENERATIONS:
                self._projects.pop(next(iter(self._projects)))
            self._projects[generation] = project
        return self._projects[generation]

    def service_of(self, held: HeldContainer) -> Service:
        """The service that it was made as."""
        service = self.project_of(held).services[held.service]
        return service if held.labelled.hook is None else hook_service(service, held.labelled.hook)

    def hostname(self, service: Service, container_id: str, name: str, shared: Mapping[str, str] = EMPTY) -> str:
        """Its host's name, where the service gives none; `name` is the container's."""
        if service.network_mode == "host":
            return socket.gethostname()
        if service.replica_identity and "network" not in shared:
            return replica.hostname(name)
        owner = self._network_owner(shared["network"]) if "network" in shared else container_id
        return owner.rpartition("/")[2][:12]

    # made, changed, removed

    async def create(
        self,
        project: Project,
        generation: str,
        service: Service,
        name: str,
        number: int,
        inherit: str | None,
        one_off: OneOff | None = None,
    ) -> None:
        """Leaves nothing behind on failure. Raises HostError where the name is taken."""
        self._projects[generation] = project
        inherited = self._anonymous(inherit) if inherit else EMPTY
        await self._create(project, generation, service, name, number, inherited, one_off=one_off)

    async def create_hook(self, name: str, beside: str, index: int) -> None:
        """The same for the container of a pre_start hook, as the service of `beside` has it."""
        donor = self.named(beside)
        project, anonymous = self.project_of(donor), self._anonymous(beside)
        try:
            service = hook_service(project.services[donor.service], index, anonymous)
        except IndexError:
            raise HostError(f'service "{donor.service}" had no {KIND}[{index}] when {beside} was made') from None
        await self._create(project, donor.labelled.generation, service, name, 0, anonymous, index)

    async def _create(
        self,
        project: Project,
        generation: str,
        service: Service,
        name: str,
        number: int,
        inherited: Mapping[str, str],
        hook: int | None = None,
        one_off: OneOff | None = None,
    ) -> None:
        container_id = one_off.id if one_off else secrets.token_hex(32)
        with self._claimed(name), ExitStack() as holding:
            wanted = _ContainerToMake(
                project,
                generation,
                service,
                name,
                number,
                container_id,
                self._shared(service),
                inherited,
                hook,
                one_off,
            )
            try:
                # The stores' locks are waited for, and content may have to be copied: the loop answers DNS meanwhile.
                prepared = await self.runtime.disk.run(self._make, wanted, holding)
                await self.runtime.flushed(container_id)
            except BaseException:
                with trio.CancelScope(shield=True):
                    await self.runtime.disk.run(self._unmake, wanted)
                raise
        held = HeldContainer(container_id, name, service.name, prepared.labelled)
        held.ended()
        self._by_name[name] = self._by_id[container_id] = held
        self._notes[name] = prepared.notes

    def _unmake(self, wanted: _ContainerToMake) -> None:
        container_names.release(self.roots, wanted.name, wanted.id)
        discard(self.places.container(wanted.id))
        for volume in wanted.fresh:
            with suppress(VolumeError):
                self.volumes.remove(volume)

    def _make(self, wanted: _ContainerToMake, holding: ExitStack) -> _MadeContainer:
        """Its folder, its mounts and its records; `holding` keeps the image until the container's record names it."""
        project, service, folder = wanted.project, wanted.service, self.places.container(wanted.id)
        name = replica.container_name(project, service, wanted.number) if wanted.number else wanted.name
        holding.enter_context(self.store.held())
        image = self.store.resolve(service.image or "")
        self.store.use(image.digest)
        defaults = profile.linux_defaults(
            cap_add=service.cap_add,
            cap_drop=service.cap_drop,
            privileged=service.privileged,
            security_opt=service.security_opt,
            devices=[(d.source, d.target, d.permissions) for d in service.devices],
            device_cgroup_rules=service.device_cgroup_rules,
            shm_size=service.shm_size,
            sysctls=service.sysctls,
            host=oci.host_namespaces(service),
            shared=tuple(wanted.shared),
            folder=project.working_dir,
        )
        os.makedirs(f"{folder}/etc", mode=0o755)
        container_names.claim(self.roots, wanted.name, project.name, wanted.id)
        if any(donor.way == "container" for donor in divergence.donors(service)):
            durable.write(self.places.joins, b"", flush=False)
        mounted = service_mounts.mounted(
            project,
            service,
            image,
            folder,
            self.volumes,
            self.store,
            before=wanted.inherited,
            fresh=wanted.fresh,
            container=self._folder_of,
        )
        labelled = container_labels.own_of(
            project,
            service,
            wanted.generation,
            image,
            mounted.volumes,
            mounted.anonymous,
            wanted.shared,
            mounted.donors,
            mounted.images,
            wanted.hook,
            wanted.one_off,
        )
        bundle = oci.bundle(
            project,
            service,
            wanted.id,
            root_for(image, folder, self.roots, mounted.used, project.working_dir, service.host_show),
            oci.ImageConfig(image.env, image.cmd, image.entrypoint, image.user, image.workdir),
            defaults,
            oci.HostFacts(
                mounted.mounts + self._etc(service, folder, wanted.shared),
                _block_devices(service),
                wanted.shared,
                self.hostname(service, wanted.id, name, wanted.shared),
                network_spec.host_has_ipv6(),
                replica.variables(project, service, wanted.number),
            ),
            annotations=container_labels.labels(project, service, wanted.number, image.digest, labelled),
        )
        seccomp_filter = bundle.spec.linux.seccomp
        program = seccomp.compile(seccomp_filter) if seccomp_filter else None
        write_container(folder, wanted.name, bundle, service.image or "", program)
        return _MadeContainer(labelled, tuple(map(HostNote, (*defaults.notes, *oci.logging_notes(service.logging)))))

    async def remove(self, held: HeldContainer, *, volumes: bool) -> None:
        """With `volumes`, its anonymous ones too, unless another container has them by volumes_from."""
        used = usage.read(self.folder(held)).volumes if volumes else ()
        container_names.release(self.roots, held.name, held.id)
        await self.runtime.remove(held.id)
        del self._by_name[held.name], self._by_id[held.id]
        self._notes.pop(held.name, None)
        if held.labelled.one_off:
            self._forget_generation(held.labelled.generation)
        if names := dict.fromkeys((*held.labelled.anonymous, *used)) if volumes else ():
            await self.runtime.disk.run(self._remove_anonymous, names, held.labelled)

    def _forget_generation(self, generation: str) -> None:
        """What a one-off container was made from is of no use to anybody else, unless a service was made by it, too."""
        if all(held.labelled.generation != generation for held in self._by_name.values()):
            self._projects.pop(generation, None)
            with suppress(OSError):
                os.unlink(f"{self.places.generations}/{generation}.json")

    def _remove_anonymous(self, names: Iterable[str], labelled: Own) -> None:
        """Of the volumes that a container had, those without a name that nobody has any more: another's too, which
        went before it and left them to it by volumes_from."""
        for name in names:
            with suppress(VolumeError):
                if name in labelled.anonymous or Label.ANONYMOUS in self.volumes.get(name).labels:
                    self.volumes.remove(name)

    @contextmanager
    def _claimed(self, name: str) -> Iterator[None]:
        """Nobody else gives this name to a container meanwhile. Raises HostError if one has it."""
        if name in self._by_name or name in self._claims:
            raise HostError(f'container name "{name}" is already in use')
        self._claims.add(name)
        try:
            yield
        finally:
            self._claims.discard(name)

    async def rename(self, held: HeldContainer, name: str) -> None:
        with self._claimed(name):
            await self.runtime.disk.run(container_names.claim, self.roots, name, self.places.project, held.id)
            try:
                await self.runtime.rename(held.id, name)
            except BaseException:
                container_names.release(self.roots, name, held.id)
                raise
        container_names.release(self.roots, held.name, held.id)
        self._by_name[name] = self._by_name.pop(held.name)
        self._notes[name] = self._notes.pop(held.name, ())
        held.name = name

    def note(self, held: HeldContainer, texts: Sequence[str]) -> None:
        self._notes[held.name] = (*self._notes.get(held.name, ()), *map(HostNote, texts))

    def taken_notes(self, name: str) -> tuple[HostNote, ...]:
        """Those that nobody took before."""
        return self._notes.pop(name, ())

    def process(self, held: HeldContainer) -> Process:
        """Its first process, as it was made."""
        with open(f"{self.folder(held)}/bundle.json", encoding="utf-8") as file:
            return bundle_from_json(Bundle, file.read()).spec.process

    def remember(self, held: HeldContainer, supervision: Supervision) -> None:
        path = f"{self.folder(held)}/{SUPERVISION}"
        with suppress(OSError):  # a full disk must not stop what this only remembers
            if supervision == NOBODY:
                with suppress(FileNotFoundError):
                    os.unlink(path)
                return
            durable.write(path, to_json(supervision).encode(), flush=False)

    # others' namespaces and volumes

    def _donor(self, way: str, target: str, purpose: str) -> str:
        """The id of the first container of a service, of one that runs if there is one; or of the container of that
        name or id, for one of another project PROJECT/ID. Raises HostError."""
        if way == "container":
            holder = container_names.find(self.roots, target) or container_names.find_id(self.roots, target)
            if holder is None:
                raise HostError(f'no container "{target}" on this machine to {purpose}', hint="its project must be up")
            return holder.id if holder.project == self.places.project else f"{holder.project}/{holder.id}"
        among = self.of_service(target)
        if not among:
            raise HostError(f'no service "{target}" to {purpose}')
        return min(among, key=lambda held: (not held.running, held.name)).id

    def _shared(self, service: Service) -> dict[str, str]:
        """Namespace type -> the container whose one it is, of `network_mode`, `ipc` and `pid`."""
        return {
            donor.kind: self._donor(donor.way, donor.target, f"share {donor.words} of")
            for donor in divergence.donors(service)
            if donor.kind in divergence.NAMESPACES
        }

    def _etc(self, service: Service, folder: str, shared: Mapping[str, str]) -> tuple[Mount, ...]:
        """Those in the container's folder, or in that of the one whose network it shares."""
        taken = {mount.target for mount in service.mounts}
        if "network" in shared:
            return etc_files.mounts(f"{self.places.donor(self._network_owner(shared['network']))}/etc", taken)
        etc_files.make_empty(f"{folder}/etc")
        return etc_files.mounts(f"{folder}/etc", taken)

    def _network_owner(self, reference: str) -> str:
        """Whose network namespace a container has that may share another's itself; each is its id or PROJECT/ID."""
        for _ in range(LONGEST_CHAIN):
            project, _, container_id = reference.rpartition("/")
            whose = self.roots.project(project) if project else self.places
            state = read_container(whose, container_id)
            further = Own.of(state.annotations).shared.get("network") if state else None
            if further is None:
                break
            reference = further if "/" in further or not project else f"{project}/{further}"
        return reference

    def _anonymous(self, name: str) -> dict[str, str]:
        """Target -> anonymous volume of the container that makes place."""
        labelled = self.named(name).labelled
        return {target: volume for target, volume in labelled.volumes.items() if volume in labelled.anonymous}

    def _folder_of(self, way: str, target: str) -> str:
        return self.places.donor(self._donor(way, target, "take the volumes of"))


def _block_devices(service: Service) -> dict[str, tuple[int, int]]:
    """Major and minor number of each device that blkio_config names."""
    blkio = service.resources.blkio
    if blkio is None:
        return {}
    rates = (*blkio.device_read_bps, *blkio.device_read_iops, *blkio.device_write_bps, *blkio.device_write_iops)
    numbers = {}
    for path in {*(r.path for r in rates), *(w.path for w in blkio.weight_device)}:
        try:
            device = os.stat(path).st_rdev
        except OSError as error:
            raise HostError(f'blkio_config: device "{path}": {error.strerror}') from error
        numbers[path] = (os.major(device), os.minor(device))
    return numbers
