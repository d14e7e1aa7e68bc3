"""RUN: from the instruction to a job for the runner, and from what the job wrote to a layer.

The places of mounts are a layer of their own below the upper folder, so that no empty `/run/secrets` and no changed
time of a folder gets into the image. Secrets and caches are never part of a layer, and not of a key.
Rules: blocking, but for the job itself, which is asked for.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

from pycompose.runtime.files.descent import make_folder
from pycompose.runtime.files.remove import discard
from pycompose.runtime.images import roots
from pycompose.runtime.policy import host_secrets
from pycompose.runtime.spec import HostRoot, LayeredRoot, Mount

from . import config as configuration
from . import copying, running, trees
from .asks import Ask, Execute, Work
from .copying import CopyOptions
from .errors import RunFailed
from .request import BuildStep, Happened, Secret
from .running import Job, Wanted
from .stage_state import StageState
from .stages import PROXIES
from .syntax import Heredoc, Instruction, heredoc_name
from .trees import Tree

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MOUNTS = "mounts"  # folder of the store where RUN --mount=type=cache lives
AGENT = "/run/buildkit/ssh_agent.{}"
_KERNEL = ("/dev", "/proc", "/sys")


def run(of: StageState, one: Instruction) -> Generator[Ask, Any, None]:
    """Raises BuildError, RunFailed."""
    options = running.run_options(one)
    network = options.get("network", ["default"])[-1]
    if network == "default":
        network = of.request.limits.network
    wanted = [running.mount(text, one, of.values(), of.escape, of.cwd()) for text in options.get("mount", ())]
    args, script, shown = _command(of, one)
    said = "".join(f"--{name}{'' if value is None else '=' + value} " for name, value in one.flags)
    step = of.step(f"RUN {said}{shown}", one)
    env = dict(configuration.env(of.config))
    for name, value in of.args.items():
        env.setdefault(name, value)
    env.setdefault("PATH", PATH)
    outside = {n: of.request.args[n] for n in PROXIES if n in of.request.args and n not in env}
    origins = []
    for number, mount in enumerate(wanted):
        origins.append((yield from _origin(of, one, mount, number)))
    described = [
        (m.kind, m.target, m.source, m.id, m.rw, m.size, m.env, m.mode, o.identity)
        for m, o in zip(wanted, origins, strict=True)
    ]
    user = of.config.get("User") or ""
    limits = of.request.limits
    limits_key = (network, limits.privileged, limits.shm_size, sorted(limits.ulimits.items()), limits.extra_hosts)
    key = of.key("run", of.layers, of.host, args, script, sorted(env.items()), of.cwd(), user, limits_key, described)
    if remembered := of.recall(key):
        of.shared.tell(Happened(step, "cached"))
        of.add(_history(of, one, args), key, *remembered)
        return
    yield Work(key)
    if remembered := of.recall(key):
        of.shared.tell(Happened(step, "cached"))
        of.add(_history(of, one, args), key, *remembered)
        return
    with of.under_way(step):
        layering = of.shared.layering
        layering.check()
        place = layering.place("run")
        with contextlib.ExitStack() as held:
            mounts: list[Mount] = []
            for number, (mount, origin) in enumerate(zip(wanted, origins, strict=True)):
                prepared = _mount(of, one, mount, origin, f"{place}/{number}", held, outside)
                mounts += [prepared] if prepared else []
            if script is not None:
                mounts.append(_script(place, args[0], script))
            mounts.sort(key=lambda prepared: prepared.destination.count("/"))
            stubs = _stubs(of, mounts, f"{place}/stubs")
            job = Job(
                _root(of, place, stubs),
                args,
                tuple(f"{name}={value}" for name, value in {**env, **outside}.items()),
                of.cwd(),
                user,
                tuple(mounts),
                network,
            )
            tail: deque[str] = deque(maxlen=20)

            def output(line: str) -> None:
                tail.append(line)
                of.shared.tell(Happened(step, "output", line))

            code = yield Execute(job, output)
        if code != 0:
            raise RunFailed(step.title, code, tuple(tail), one.position)
        layer = layering.finish(_upper(of, place, step))[0]
        created = of.shared.now()
        of.keep((key,), layer, created)
    of.add(_history(of, one, args), key, layer, created)


def _command(of: StageState, one: Instruction) -> tuple[tuple[str, ...], str | None, str]:
    """(arguments, a script that is to be a file at the first of them, what is shown)."""
    listed = one.json()
    if listed is not None:
        if not listed:
            raise one.fail("RUN: the list is empty")
        return listed, None, one.rest
    shell = configuration.shell(of.config)
    if not one.heredocs:
        return (*shell, one.rest), None, one.rest
    alone = heredoc_name(one.rest, of.escape) if len(one.rest.split()) == 1 else None  # else it is a command's stdin
    first: Heredoc = one.heredocs[0]
    if alone and len(one.heredocs) == 1:
        shown = f"<<{first.name} ({' '.join(first.text.split())[:60]}…)"
        if first.text.startswith("#!"):
            return (f"/dev/pipes/{first.name}",), first.text, shown
        return (*shell, first.text), None, shown
    whole = one.rest + "".join(f"\n{here.content}{here.name}" for here in one.heredocs)
    return (*shell, whole), None, one.rest


def _history(of: StageState, one: Instruction, args: tuple[str, ...]) -> str:
    arguments = [f"{name}={value}" for name, value in of.args.items()]
    before = f"|{len(arguments)} {' '.join(arguments)} " if arguments else ""
    return f"RUN {before}{' '.join(args)}"


# Mounts


class Origin:
    """Where a mount's files come from, and what tells them from others."""

    def __init__(self, identity: object = "", tree: Tree | None = None, layers: tuple[str, ...] = ()) -> None:
        self.identity, self.tree, self.layers = identity, tree, layers


def _origin(of: StageState, one: Instruction, mount: Wanted, number: int) -> Generator[Ask, Any, Origin]:
    if mount.kind == "cache" and not mount.origin:
        return Origin()
    if mount.kind not in ("bind", "cache"):
        return Origin()
    tree: Tree | None = of.request.context
    if mount.origin:
        tree, layers = yield from of.origin(mount.origin, one)
        if layers is not None:
            view = of.shared.layering.view(*layers, mount.origin)
            if layers[1]:
                raise one.fail(f"--mount: from={mount.origin} has the host below it, and cannot be mounted")
            return Origin(layers, view, layers[0])
    assert tree is not None
    if mount.kind == "cache":
        return Origin("", tree)
    sources = copying.gather(tree, [mount.source or "."])
    if not sources:
        raise one.fail(f"no file of {tree.what} matches {mount.source}", "names are relative to its root")
    return Origin(copying.digest(sources, CopyOptions("/"), of.shared.digests.of), tree)


def _mount(
    of: StageState,
    one: Instruction,
    mount: Wanted,
    origin: Origin,
    place: str,
    held: contextlib.ExitStack,
    outside: dict[str, str],
) -> Mount | None:
    match mount.kind:
        case "tmpfs":
            size = (f"size={mount.size}",) if mount.size else ()
            return Mount(mount.target, "tmpfs", "tmpfs", ("nosuid", "nodev", *size))
        case "secret":
            return _secret(of, one, mount, place, outside)
        case "ssh":
            return _agent(of, one, mount, outside)
        case "cache":
            folder = held.enter_context(_cache(of, mount, origin))
            more = (f"x-subpath={_inside(folder, mount.source)}",) if mount.source and not mount.origin else ()
            access = "ro" if mount.rw is False else "rw"
            return Mount(mount.target, "bind", folder, ("rbind", access, "rprivate", *more))
    assert origin.tree is not None
    access = "rw" if mount.rw else "ro"
    whole = mount.source.strip("/.") == ""
    if origin.layers and whole and not mount.rw:
        folders = of.shared.layering.folders(origin.layers)
        if len(folders) == 1:
            return Mount(mount.target, "bind", folders[0], ("rbind", "ro", "rprivate"))
        return Mount(mount.target, "overlay", "overlay", ("ro", *(f"lowerdir+={folder}" for folder in folders)))
    return Mount(mount.target, "bind", _copied(origin.tree, mount.source or ".", place), ("rbind", access, "rprivate"))


def _copied(tree: Tree, source: str, place: str) -> str:
    """A copy of what a mount shows: without what `.dockerignore` leaves out, and the original stays as it is."""
    os.makedirs(place, 0o755)
    root = os.open(place, trees.FOLDER)
    try:
        sources = copying.gather(tree, [source])
        copying.Writer(root, CopyOptions("/it")).write(sources)
    finally:
        os.close(root)
    return f"{place}/it"


def _secret(of: StageState, one: Instruction, mount: Wanted, place: str, outside: dict[str, str]) -> Mount | None:
    secret: Secret | None = of.request.secrets.get(mount.id)
    if secret is None:
        if mount.required:
            raise one.fail(f"secret {mount.id!r} is not given", f"--secret id={mount.id},src=FILE or ,env=VARIABLE")
        return None
    try:
        content = secret.content
        if content is None:
            with open(secret.file, "rb") as source:
                content = source.read(1 << 20)
    except OSError as error:
        raise one.fail(f"secret {mount.id!r}: {secret.file}: {error.strerror}") from None
    if mount.env:
        outside[mount.env] = content.decode("utf-8", "surrogateescape")
    if not mount.target:
        return None
    os.makedirs(place, 0o700)
    with open(os.open(f"{place}/secret", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        os.fchown(file.fileno(), mount.uid, mount.gid)
        os.fchmod(file.fileno(), 0o400 if mount.mode is None else mount.mode)
    return Mount(mount.target, "bind", f"{place}/secret", ("rbind", "ro", "rprivate"))


def _agent(of: StageState, one: Instruction, mount: Wanted, outside: dict[str, str]) -> Mount | None:
    path = of.request.ssh.get(mount.id)
    if path is None:
        if mount.required:
            raise one.fail(f"no ssh agent {mount.id!r} is given", f"--ssh {mount.id}, with SSH_AUTH_SOCK set")
        return None
    try:
        there = stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        there = False
    if not there:
        raise one.fail(f"ssh agent {mount.id!r}: {path} is no socket")
    target = mount.target or AGENT.format(0)
    outside["SSH_AUTH_SOCK"] = target
    return Mount(target, "bind", path, ("rbind", "ro", "rprivate"))


@contextlib.contextmanager
def _cache(of: StageState, mount: Wanted, origin: Origin) -> Iterator[str]:
    """The folder of a cache, which builds share, one after another or each their own."""
    top = f"{of.shared.layering.store.root}/{MOUNTS}"
    os.makedirs(top, 0o700, exist_ok=True)
    name = hashlib.sha256((mount.id or mount.target).encode()).hexdigest()[:32]
    number = 0
    while True:
        path = f"{top}/{name}.{number}"
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if mount.sharing == "private":
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    number += 1
                    continue
            else:
                fcntl.flock(lock, fcntl.LOCK_EX if mount.sharing == "locked" else fcntl.LOCK_SH)
            if not os.path.isdir(path):
                _fill_once(path, mount, origin)
            yield path
            return
        finally:
            os.close(lock)


def discard_caches(root: str) -> int:
    """Empty the caches in the store at `root` that no build is using; their number."""
    top, count = f"{root}/{MOUNTS}", 0
    for entry in sorted(os.listdir(top)) if os.path.isdir(top) else ():
        if not entry.endswith(".lock"):
            continue
        with open(f"{top}/{entry}", "a") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path = f"{top}/{entry.removesuffix('.lock')}"
            count += os.path.isdir(path)
            discard(path)
    return count


def _fill_once(path: str, mount: Wanted, origin: Origin) -> None:
    """Two steps side by side may share a cache that is not there yet: both must get the same folder."""
    above = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(above, fcntl.LOCK_EX)
        if not os.path.isdir(path):
            _fill(path, mount, origin)
    finally:
        os.close(above)


def _fill(path: str, mount: Wanted, origin: Origin) -> None:
    fresh = f"{path}.{os.getpid()}.new"
    if origin.tree is not None:
        os.makedirs(fresh, 0o700)
        source = f"{_copied(origin.tree, mount.source or '.', f'{fresh}/from')}"
        os.rename(source, f"{fresh}/it")
        os.rmdir(f"{fresh}/from")
        inner = f"{fresh}/it"
    else:
        os.makedirs(inner := fresh, 0o700, exist_ok=True)
    shown = os.open(inner, trees.FOLDER)
    os.fchown(shown, mount.uid, mount.gid)
    os.fchmod(shown, 0o755 if mount.mode is None else mount.mode)
    os.close(shown)
    os.rename(inner, path)
    if inner != fresh:
        os.rmdir(fresh)


def _inside(folder: str, source: str) -> str:
    """A folder of a cache, relative to it; made if it is missing. Other steps write to the cache, so it is found again,
    inside of it, when it is mounted."""
    root = os.open(folder, trees.FOLDER)
    try:
        inner = trees.inner(source)
        os.close(copying.Writer(root, CopyOptions("/")).make_folder("/" + inner))
        return inner
    finally:
        os.close(root)


def _script(place: str, target: str, text: str) -> Mount:
    with open(f"{place}/script", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o755)
    return Mount(target, "bind", f"{place}/script", ("rbind", "ro", "rprivate"))


# The root


def _stubs(of: StageState, mounts: list[Mount], place: str) -> str:
    """A layer with the places of mounts that the image does not have, below folders that look as in the image."""
    os.close(make_folder(place, 0o755))
    missing: list[tuple[str, bool]] = []
    view = of.shared.layering.view(of.layers, of.host, "the image") if of.layers or of.host else None
    for mount in mounts:
        path = mount.destination.strip("/")
        if mount.destination.startswith(tuple(f"{kind}/" for kind in _KERNEL)):
            continue
        done: list[str] = []
        for part in path.split("/"):
            here = "/".join([*done, part])
            if view is not None:
                try:
                    done = [part for part in trees.resolve(view, here).split("/") if part]
                    continue
                except (FileNotFoundError, NotADirectoryError):
                    pass
            done.append(part)
        folder = mount.type != "bind" or os.path.isdir(mount.source)
        missing.append(("/".join(done), folder))
    for path, folder in missing:
        parts = path.split("/")
        for count in range(1, len(parts)):
            _stub(view, place, "/".join(parts[:count]), True)
        _stub(view, place, path, folder)
    return place if missing else ""


def _stub(view: Tree | None, place: str, path: str, folder: bool) -> None:
    status = None
    if view is not None:
        with contextlib.suppress(OSError):
            status = os.stat(path, dir_fd=view.root, follow_symlinks=False)
    if os.path.lexists(f"{place}/{path}"):
        return
    if status is not None and not stat.S_ISDIR(status.st_mode):
        return  # the image's own file is the place
    if folder:
        stub = make_folder(f"{place}/{path}", 0o755)
    else:
        stub = os.open(f"{place}/{path}", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    os.fchown(stub, status.st_uid if status else 0, status.st_gid if status else 0)
    os.fchmod(stub, stat.S_IMODE(status.st_mode) if status else 0o755 if folder else 0o644)
    if status is not None:
        os.utime(stub, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.close(stub)


def _root(of: StageState, place: str, stubs: str) -> LayeredRoot | HostRoot:
    layering = of.shared.layering
    top = (roots.init_layer(layering.store.places), *((stubs,) if stubs else ()))
    if of.host:
        places = layering.store.places
        os.makedirs(f"{place}/host", 0o700)
        view = host_secrets.view((places.state, places.run))
        return HostRoot(f"{place}/host", top, view.hidden, layering.folders(of.layers), view.shown)
    os.close(make_folder(f"{place}/upper", 0o755))
    return LayeredRoot((*top, *layering.folders(of.layers)), f"{place}/upper", f"{place}/work")


def _upper(of: StageState, place: str, step: BuildStep) -> str:
    if not of.host:
        return f"{place}/upper"
    disks = f"{place}/host/disks"
    for name in os.listdir(disks) if os.path.isdir(disks) else ():
        if os.listdir(f"{disks}/{name}/upper"):
            of.shared.tell(
                Happened(step, "warning", "it wrote to another disk than the root's; only the root's files are kept")
            )
            break
    return f"{place}/host/upper"
