"""Steps of `pre_start` hooks: before a service's containers start for the first time, each hook runs to its end.

A hook runs once for the service, beside the first of its containers, or for each with `per_replica`; in the order of
the file. Whether it is due is read off the containers: none is started before its hooks have succeeded, so one that was
started ever has had them, and a changed definition makes the containers anew. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from pycompose.compose.model.observed import ObservedContainer
from pycompose.compose.model.pre_start import container_name, shown_as
from pycompose.compose.model.project import Service

from .draft import Cause, Draft
from .steps import RunHook


class PreStart:
    """The hooks of one plan; `separator` is the project's."""

    def __init__(self, out: Draft, separator: str, observed: Iterable[ObservedContainer]) -> None:
        self._out, self._separator = out, separator
        self._left = [c for c in observed if c.hook]
        self._of_service: dict[str, tuple[str, ...]] = {}  # name of a hook's container -> the step that runs it

    def sweep(self, service: str) -> None:
        """Remove what hooks of an earlier command have left: a failed one is kept until somebody tries again."""
        for c in [c for c in self._left if c.service == service]:
            self._left.remove(c)
            self._out.stop_and_remove(c, Cause("leftover", "of an earlier run"), volumes=True)

    def before(self, service: Service, name: str, after: tuple[str, ...], *, first: bool) -> tuple[str, ...]:
        """The steps after which the container `name`, which never ran, is started.

        `first`: no other container of the service has been started ever.
        """
        for index, hook in enumerate(service.pre_start):
            if hook.per_replica:
                after = (self._run(service, name, name, index, after),)
            elif first:
                whole = self._separator.join((self._out.project, service.name))
                called = container_name(whole, self._separator, index)
                if called not in self._of_service:
                    self._of_service[called] = (self._run(service, name, whole, index, after),)
                    after = self._of_service[called]
                else:
                    after = (*after, *self._of_service[called])
        return after

    def _run(self, service: Service, beside: str, whose: str, index: int, after: tuple[str, ...]) -> str:
        self.sweep(service.name)
        called = container_name(whose, self._separator, index)
        action = RunHook(called, service.name, index, beside)
        return self._out.run_hook(action, Cause("hook", shown_as(service.name, index)), after)
