"""Services of a provider: their variables in the project that is planned, as known now.

`up` runs a provider as a step of its plan (`provider_runs`). What a provider told last is on record with the project,
and a plan is made as if it told that again: where it tells something else, the rest is planned anew. Variables are part
of what a dependent is made from: others make it anew. What a provider has made is not undone when a later step fails:
`up` goes on from there, and `down` removes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from pycompose.compose.model.observed import Observed
from pycompose.compose.model.project import Project, Service


class Provided:
    """The project of one command, with the variables that providers told: those of the `earlier` generation at first.

    `remodel` makes of it what is planned.
    """

    def __init__(self, project: Project, earlier: Project | None) -> None:
        self._plain = project
        self._values: dict[str, Mapping[str, str]] = {}
        for name in of_providers(project):
            known = earlier.services.get(name) if earlier else None
            self._values[name] = known.provided if known else {}
        self.run: frozenset[str] = frozenset()  # services whose providers this command has run
        self.ended: frozenset[str] = frozenset()  # containers that it has started, and that have ended since
        self.remodel: Callable[[Project], Project] = _as_it_is

    @property
    def project(self) -> Project:
        project = self._plain
        for name, values in self._values.items():
            project = _with_provider(project, project.services[name], values)
        return self.remodel(project)

    def take(self, name: str, values: Mapping[str, str], observed: Observed) -> bool:
        """The provider of a service told these variables. Whether what depends on it is to be planned anew: other
        variables than were known, and containers that have those."""
        changed = values != self._values[name]
        self._values[name] = values
        self.run |= {name}
        return changed and any(observed.of_service(one.name) for one in self.dependents(name))

    def heed_ends(self, before: Observed, now: Observed) -> None:
        """Containers that were started in between and run no more are not started again by this command."""
        known = {one.id: one.started for one in before.containers}
        ended = (one for one in now.containers if one.status == "exited" and one.started is not None)
        self.ended |= {one.id for one in ended if known.get(one.id) != one.started}

    def overridden(self, name: str, values: Mapping[str, str]) -> list[str]:
        """What to warn of: variables of the file that those of a provider take the place of."""
        prefix = f"{name.upper()}_"
        return [
            f'provider of "{name}" overrides variable "{key}" of service "{service.name}"'
            for service in self.dependents(name)
            for key, value in values.items()
            if not key.startswith(prefix) and service.environment.get(key, value) != value
        ]

    def dependents(self, name: str) -> list[Service]:
        return [one for one in self._plain.services.values() if any(need.service == name for need in one.depends_on)]


def _as_it_is(project: Project) -> Project:
    return project


def of_providers(project: Project, services: Iterable[str] = ()) -> list[str]:
    """The services, of those named (of all, if none is), that providers run."""
    names = set(services) or project.services.keys()
    return [one.name for one in project.services.values() if one.provider is not None and one.name in names]


def _with_provider(project: Project, provider: Service, values: Mapping[str, str]) -> Project:
    """The project in which those that depend on `provider` have these variables."""
    services = dict(project.services)
    services[provider.name] = replace(provider, provided=MappingProxyType(dict(values)))
    for name, dependent in project.services.items():
        if values and any(need.service == provider.name for need in dependent.depends_on):
            services[name] = with_variables(dependent, provider.name, values)
    return replace(project, services=MappingProxyType(services))


def with_variables(service: Service, provider: str, values: Mapping[str, str]) -> Service:
    """The service with what a provider tells, which is part of what its containers are compared by."""
    from pycompose.compose.file.canonical import text_digest

    text = json.dumps(sorted(values.items()))
    parts = {**service.hash_parts, f"variables of {provider}": text_digest(text)[:12]}
    return replace(
        service,
        environment=MappingProxyType({**service.environment, **values}),
        hash_parts=MappingProxyType(parts),
        config_hash=text_digest(json.dumps(sorted(parts.items()))),
    )
