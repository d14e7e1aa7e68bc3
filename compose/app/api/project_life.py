"""The life of a project: what makes, starts, stops and removes its containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Self, TypedDict, Unpack

from .scope import Names, Progress, ProjectScope, heard, names

if TYPE_CHECKING:
    from pycompose.compose.plan.steps import Plan


class UpKeywords(TypedDict, total=False):
    """As the parameters of `up`."""

    scale: Mapping[str, int] | None
    wait: bool
    wait_timeout: float | None
    build: bool | None
    pull: Literal["always", "missing", "never"] | None
    timeout: float | None
    no_deps: bool
    no_start: bool
    force_recreate: bool
    no_recreate: bool
    always_recreate_deps: bool
    remove_orphans: bool
    renew_anonymous_volumes: bool
    remake_volume: Callable[[str], bool]
    dry_run: bool
    progress: Progress | None


class ProjectLife:
    """The half of a `Project` that changes it."""

    _scope: ProjectScope

    def up(
        self,
        services: Names = (),
        *,
        scale: Mapping[str, int] | None = None,
        wait: bool = False,
        wait_timeout: float | None = None,
        build: bool | None = None,
        pull: Literal["always", "missing", "never"] | None = None,
        timeout: float | None = None,
        no_deps: bool = False,
        no_start: bool = False,
        force_recreate: bool = False,
        no_recreate: bool = False,
        always_recreate_deps: bool = False,
        remove_orphans: bool = False,
        renew_anonymous_volumes: bool = False,
        remake_volume: Callable[[str], bool] = lambda _: False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Plan:
        """Make and start containers, and whatever they need; the plan that was carried out. Times are in seconds.

        With `wait`, return when they run or are healthy. `build`: all that can be built (True), nothing (False), or
        what is missing. `remake_volume` is asked, with its name, for each volume that was made otherwise than the file
        says now. With `dry_run` nothing is done. Raises PycomposeError; ConditionFailed where one does not become
        healthy; FetchFailed.
        """
        from pycompose.compose.app import operations
        from pycompose.compose.app.image_operations import ImageOptions
        from pycompose.compose.plan.reconcile import UpOptions

        options = UpOptions(
            services=names(services),
            scale=scale or {},
            no_deps=no_deps,
            force_recreate=force_recreate,
            no_recreate=no_recreate,
            remove_orphans=remove_orphans,
            wait=wait,
            wait_timeout=wait_timeout,
            timeout=timeout,
            no_start=no_start,
            renew_anonymous_volumes=renew_anonymous_volumes,
        )
        return operations.up(
            self._scope.with_dry_run(dry_run),
            options,
            ImageOptions(pull, build),
            heard(progress),
            recreate_dependencies=always_recreate_deps,
            remake=remake_volume,
        ).plan

    def create(self, services: Names = (), **options: Unpack[UpKeywords]) -> Plan:
        """As `up`, and nothing is started."""
        options["no_start"] = True
        return self.up(services, **options)

    def plan(self, services: Names = (), **options: Unpack[UpKeywords]) -> Plan:
        """What `up` with these options would do: its steps, each with a cause. Nothing is done."""
        options["dry_run"] = True
        return self.up(services, **options)

    def down(
        self,
        services: Names = (),
        *,
        volumes: bool = False,
        images: Literal["local", "all"] | None = None,
        remove_orphans: bool = False,
        timeout: float | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Plan:
        """Stop and remove containers and networks; with `volumes`, named and anonymous volumes too.

        `images`: remove all that are used, or those that were built and have no name of their own ("local").
        """
        from pycompose.compose.app import operations
        from pycompose.compose.plan.commands import DownOptions

        options = DownOptions(names(services), volumes, remove_orphans, timeout)
        return operations.down(self._scope.with_dry_run(dry_run), options, heard(progress), images=images).plan

    def scale(
        self,
        counts: Mapping[str, int],
        *,
        no_deps: bool = False,
        timeout: float | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Plan:
        """Set how many containers services have: `scale({"worker": 4})`."""
        from pycompose.compose.app import operations

        choices = self._scope.with_dry_run(dry_run)
        return operations.scale(choices, counts, heard(progress), no_deps=no_deps, timeout=timeout).plan

    def start(
        self,
        services: Names = (),
        *,
        wait: bool = False,
        wait_timeout: float | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Plan:
        """Start containers that exist; with `wait`, return when they run or are healthy."""
        from pycompose.compose.app import operations

        choices = self._scope.with_dry_run(dry_run)
        return operations.start(choices, names(services), heard(progress), wait=wait, wait_timeout=wait_timeout).plan

    def stop(
        self,
        services: Names = (),
        *,
        timeout: float | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Plan:
        """Stop containers, and keep them; `timeout` before they are killed."""
        from pycompose.compose.app import operations

        choices = self._scope.with_dry_run(dry_run)
        return operations.stop(choices, names(services), heard(progress), timeout=timeout).plan

    def restart(
        self,
        services: Names = (),
        *,
        timeout: float | None = None,
        no_deps: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Plan:
        """Stop containers and start them again; a changed file is not looked at."""
        from pycompose.compose.app import operations

        choices = self._scope.with_dry_run(dry_run)
        return operations.restart(choices, names(services), heard(progress), timeout=timeout, no_deps=no_deps).plan

    def kill(
        self,
        services: Names = (),
        *,
        signal: str = "SIGKILL",
        remove_orphans: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Plan:
        """Send containers a signal."""
        from pycompose.compose.app import operations

        choices = self._scope.with_dry_run(dry_run)
        return operations.kill(
            choices, names(services), heard(progress), signal=signal, remove_orphans=remove_orphans
        ).plan

    def pause(self, services: Names = (), *, dry_run: bool = False, progress: Progress | None = None) -> Plan:
        """Freeze containers."""
        from pycompose.compose.app import operations

        return operations.pause(self._scope.with_dry_run(dry_run), names(services), heard(progress)).plan

    def unpause(self, services: Names = (), *, dry_run: bool = False, progress: Progress | None = None) -> Plan:
        """Let frozen containers go on."""
        from pycompose.compose.app import operations

        return operations.unpause(self._scope.with_dry_run(dry_run), names(services), heard(progress)).plan

    def rm(
        self,
        services: Names = (),
        *,
        stop: bool = False,
        volumes: bool = False,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> Plan:
        """Remove stopped containers, and with `stop` those that run too; `volumes`: with their anonymous ones."""
        from pycompose.compose.app import operations

        choices = self._scope.with_dry_run(dry_run)
        return operations.rm(choices, names(services), heard(progress), stop=stop, volumes=volumes).plan

    def wait(self, services: Names = (), *, timeout: float | None = None) -> dict[str, int]:
        """Wait until containers have ended (empty: all); name -> exit code. Raises WaitTimeout, NoSuchService."""
        from pycompose.compose.state import lookup

        from .waiting import exit_codes

        return exit_codes(self._scope, lookup.of_services(self._scope.containers(), names(services)), timeout)

    @contextmanager
    def running(self, services: Names = (), *, volumes: bool = False, **options: Unpack[UpKeywords]) -> Iterator[Self]:
        """Up (and healthy) while the body runs, and down after it, with `volumes` too; options are those of `up`."""
        try:
            options.setdefault("wait", True)
            self.up(services, **options)
            yield self
        finally:
            self.down(volumes=volumes)
