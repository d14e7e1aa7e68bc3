"""Building images from Dockerfiles. Front door: `remembered`, `build`, `Request`.

`remembered` answers without an event loop, and without running anything, where the whole build is known from before;
`build` goes on from there: stages that the target does not need are not looked at, and those that do not need each
other go on side by side. Files are written in threads; the loop only waits.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from pycompose.frozen import dataclass
from pycompose.runtime.images import config as image_config
from pycompose.runtime.images import host_image
from pycompose.runtime.images.cache import Cache
from pycompose.runtime.images.errors import ImageError, ImageNotFound
from pycompose.runtime.images.manifest import own_platform
from pycompose.runtime.images.reference import parse as parse_reference
from pycompose.runtime.images.store import Image, Store

from . import stages, syntax, validation
from .asks import Ask, Asking, Base, Execute, Need, Result, Work
from .digests import Digests
from .errors import BuildError
from .evaluate import evaluate
from .layering import Layering
from .request import Happened, Request, Tell
from .stage_state import Shared, StageState
from .stages import PROXIES, BuildPlan

if TYPE_CHECKING:
    import trio

    from .running import Runner

KEYS = "pycompose.build.keys"  # in an image's configuration: what cache_from reads
Say = Callable[[str], None]
Pull = Callable[[str, bool, Say], Awaitable[Image]]


class Remade(Exception):
    """Something of the build is not remembered."""


@dataclass(slots=True)
class Built:
    image: Image
    warnings: tuple[str, ...] = ()


def platform_arguments(target: str = "") -> dict[str, str]:
    here = own_platform()
    text = f"{here.os}/{here.architecture}{'/' + here.variant if here.variant else ''}"
    arguments: dict[str, str] = {}
    for kind in ("TARGET", "BUILD"):
        arguments |= {
            f"{kind}PLATFORM": text,
            f"{kind}OS": here.os,
            f"{kind}ARCH": here.architecture,
            f"{kind}VARIANT": here.variant or "",
        }
    return {**arguments, "TARGETSTAGE": target or "default"}


def plan_of(request: Request) -> BuildPlan:
    """Raises BuildError."""
    dockerfile = syntax.parse(request.dockerfile, request.name)
    platform = platform_arguments(request.target)
    contexts = [name.lower() for name in request.contexts]
    plan = stages.plan(dockerfile, request.target, request.args, platform, contexts)
    validation.validate(plan)
    return plan


@contextlib.contextmanager
def _shared(store: Store, work: str, request: Request, plan: BuildPlan, tell: Tell) -> Iterator[Shared]:
    layering = Layering(store, work, request.epoch)
    digests = Digests(store.root)
    shared = Shared(request, plan, layering, Cache(store), digests, tell, _imported(store, request))
    number = 1
    for index in plan.order:
        shared.numbers[index] = number
        number += StageState(shared, plan.stages[index]).count
    try:
        yield shared
        digests.save()
    finally:
        layering.close()


def _imported(store: Store, request: Request) -> dict[str, dict[str, str]]:
    """What images of `cache_from` that are here remember."""
    records: dict[str, dict[str, str]] = {}
    for name in request.cache_from:
        try:
            config = json.loads(store.config(name))
        except (ImageNotFound, OSError):
            continue
        for key, layer in (config.get(KEYS) or {}).items():
            if isinstance(layer, str) and store.layer(layer) is not None:
                records[key] = {"layer": layer, "created": str(config.get("created") or "")}
    return records


def remembered(store: Store, request: Request, tell: Tell) -> Built | None:
    """The image, if every step is remembered; nothing is told otherwise. Raises BuildError."""
    plan = plan_of(request)
    events: list[Happened] = []
    results: dict[int, Result] = {}
    with store.working() as work, _shared(store, work, request, plan, events.append) as shared:
        try:
            for index in plan.order:
                results[index] = _at_once(evaluate(StageState(shared, plan.stages[index])), store, results)
        except (Remade, ImageNotFound):
            return None
        built = _commit(shared, results[plan.target], work)
    for happened in events:
        tell(happened)
    return built


def _at_once(steps: Asking, store: Store, results: dict[int, Result]) -> Result:
    answer: Any = None
    with contextlib.closing(steps):
        while True:
            try:
                ask = steps.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            match ask:
                case Need(stage):
                    answer = results[stage]
                case Base(name, pull, _):
                    if pull and name != host_image.NAME:
                        raise Remade
                    answer = store.resolve(name)
                case _:
                    raise Remade


async def build(
    store: Store, request: Request, tell: Tell, runner: Runner, pull: Pull, turns: dict[str, trio.Lock] | None = None
) -> Built:
    """Build the image; what fails leaves what was finished remembered. Raises BuildError, ImageError.

    `pull(name, again, say)` gives the image of a name, which may have to be fetched, and says so in lines; `again` asks
    the registry anyway. `turns` is shared by builds that go on side by side: what two of them need is done once.
    """
    import trio

    plan = plan_of(request)
    with store.working() as work, _shared(store, work, request, plan, tell) as shared:
        results: dict[int, Result] = {}
        ready = {index: trio.Event() for index in plan.order}
        pulled: dict[str, trio.Lock] = {}
        locks = {} if turns is None else turns
        images: dict[str, Image] = {}

        async def answer(ask: Ask) -> Any:
            match ask:
                case Need(stage):
                    await ready[stage].wait()
                    return results[stage]
                case Base(name, again, step):

                    def say(text: str) -> None:
                        if step is not None and step.number not in shared.fetched:
                            shared.fetched.add(step.number)
                            tell(Happened(step, "started"))
                        if step is not None:
                            tell(Happened(step, "output", text))

                    async with pulled.setdefault(name, trio.Lock()):
                        if name not in images:
                            images[name] = await pull(name, again, say)
                    return images[name]
                case Execute(job, output):
                    return await runner.run(job, output)
                case Work():
                    return None

        async def stage(index: int) -> None:
            steps = evaluate(StageState(shared, plan.stages[index]))
            reply: Any = None
            turn: trio.Lock | None = None
            try:
                while True:
                    ask = await trio.to_thread.run_sync(_next, steps, reply)
                    if turn is not None and not isinstance(ask, Execute):
                        turn.release()  # what it was for is done
                        turn = None
                    if isinstance(ask, Work) and ask.key:
                        waiting = locks.setdefault(ask.key, trio.Lock())
                        await waiting.acquire()
                        turn = waiting
                    if isinstance(ask, Result):
                        results[index] = ask
                        ready[index].set()
                        return
                    try:
                        reply = await answer(ask)
                    except ImageError as error:
                        reply = error  # the stage knows which line is to blame
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(steps.close)
                if turn is not None:
                    turn.release()

        with _first_error():
            async with trio.open_nursery() as nursery:
                for index in plan.order:
                    nursery.start_soon(stage, index)
        return await trio.to_thread.run_sync(_commit, shared, results[plan.target], work)


def _next(steps: Any, reply: Any) -> Any:
    try:
        return steps.throw(reply) if isinstance(reply, ImageError) else steps.send(reply)
    except StopIteration as end:
        return end.value


@contextlib.contextmanager
def _first_error() -> Iterator[None]:
    """The error that a person can do something about, out of those that stages ended with together."""
    try:
        yield
    except BaseExceptionGroup as group:
        errors = _leaves(group)
        for kind in (KeyboardInterrupt, BuildError, Exception, BaseException):
            for error in errors:
                if isinstance(error, kind):
                    raise error from None


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _commit(shared: Shared, result: Result, work: str) -> Built:
    request, store = shared.request, shared.layering.store
    config = {key: value for key, value in result.config.items() if value not in (None, [], {}, "")}
    if request.labels:
        config["Labels"] = {**(config.get("Labels") or {}), **request.labels}
    here = own_platform()
    tree: dict[str, Any] = {
        "architecture": here.architecture,
        "os": here.os,
        **({"variant": here.variant} if here.variant else {}),
        "created": result.created or "1970-01-01T00:00:00Z",
        **({"author": result.author} if result.author else {}),
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": list(result.layers)},
        "history": list(result.history),
        **({host_image.KEY: host_image.NAME} if result.host else {}),
        **({KEYS: dict(result.keys)} if result.keys else {}),
    }
    data = json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")
    image_config.read(data)
    references = [parse_reference(tag) for tag in request.tags]
    for reference in references:
        if reference.digest:
            raise BuildError(f"a name with a digest cannot be given: {reference}")
    image = store.commit(references, data, work)
    return Built(image, _warnings(shared))


def _warnings(shared: Shared) -> tuple[str, ...]:
    known = shared.used | set(PROXIES) | set(shared.plan.arguments) | {"SOURCE_DATE_EPOCH"}
    unused = sorted(name for name in shared.request.args if name not in known and not name.startswith("BUILDKIT_"))
    warnings = [*shared.plan.warnings, *dict.fromkeys(shared.warnings)]
    if unused:
        warnings.append(f"no ARG asks for the build arguments {', '.join(unused)}")
    return tuple(warnings)
