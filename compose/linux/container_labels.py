"""Labels of a container: docker compose's, and the record of the service that it was made from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pycompose.compose.model import pre_start
from pycompose.compose.model.fields import EMPTY
from pycompose.compose.model.observed import Label, OneOff
from pycompose.compose.model.project import Healthcheck, Project, Service
from pycompose.compose.state.observe import OWN, Own
from pycompose.runtime.images.store import Image

from . import network_spec


def own_of(
    project: Project,
    service: Service,
    generation: str,
    image: Image,
    volumes: Mapping[str, str],
    anonymous: tuple[str, ...],
    shared: Mapping[str, str],
    volume_donors: tuple[str, ...] = (),
    mounted_images: Mapping[str, str] = EMPTY,
    hook: int | None = None,
    one_off: OneOff | None = None,
) -> Own:
    check = merged_check(service.healthcheck, image_check(image.healthcheck))
    return Own(
        generation=generation,
        image=service.image or "",
        command=tuple((*image.entrypoint, *image.cmd) if service.command is None else service.command),
        hash_parts=dict(service.hash_parts),
        restart=(service.restart_policy.condition, service.restart_policy.max_attempts),
        restart_delay=service.restart_policy.delay,
        restart_window=service.restart_policy.window,
        restart_unhealthy=service.restart_policy.unhealthy,
        networks=network_spec.names(project, service),
        volumes=dict(volumes),
        anonymous=anonymous,
        depends_on=tuple((d.service, d.condition, d.restart) for d in service.depends_on),
        grace=service.stop_grace_period,
        signal=service.stop_signal or image.stop_signal or None,
        healthcheck=check,
        shared=dict(shared),
        volume_donors=volume_donors,
        mounted_images=dict(mounted_images),
        hook=hook,
        unlogged=service.logging is not None and service.logging.driver == "none",
        exposed=_exposed((*service.expose, *image.exposed)),
        one_off=one_off,
    )


def _exposed(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({text if "/" in text else f"{text}/tcp" for text in texts}))


def labels(project: Project, service: Service, number: int, digest: str, kept: Own) -> dict[str, str]:
    """A one-off container has no number."""
    needs = (f"{d.service}:{d.condition}:{str(d.restart).lower()}" for d in service.depends_on)
    if kept.hook is None:
        special = {
            **({Label.SLUG: kept.one_off.id} if kept.one_off else {Label.NUMBER: str(number)}),
            Label.ONEOFF: str(kept.one_off is not None),
            Label.CONFIG_HASH: service.config_hash,
            Label.DEPENDS_ON: ",".join(needs),
        }
    else:
        special = {Label.HOOK: pre_start.KIND, Label.HOOK_INDEX: str(kept.hook)}
    return {
        **service.labels,
        Label.PROJECT: project.name,
        Label.SERVICE: service.name,
        **special,
        Label.IMAGE: digest,
        Label.WORKING_DIR: project.working_dir,
        Label.CONFIG_FILES: ",".join(project.config_files),
        OWN: kept.text(),
    }


def image_check(check: Mapping[str, Any] | None) -> Healthcheck | None:
    """The health check of an image's configuration (times in nanoseconds, as OCI images have them from Docker)."""
    if not check or not check.get("Test"):
        return None

    def seconds(key: str) -> float | None:
        return check[key] / 1e9 if check.get(key) else None

    return Healthcheck(
        tuple(check["Test"]),
        seconds("Interval"),
        seconds("Timeout"),
        check.get("Retries") or None,
        seconds("StartPeriod"),
        seconds("StartInterval"),
    )


def merged_check(of_file: Healthcheck | None, of_image: Healthcheck | None) -> Healthcheck | None:
    """What the service leaves out is the image's."""
    if of_file is None or of_image is None or of_file.disable:
        return of_file or of_image
    names = ("test", "interval", "timeout", "retries", "start_period", "start_interval")
    return replace(of_file, **{n: getattr(of_image, n) for n in names if getattr(of_file, n) is None})
