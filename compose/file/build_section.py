"""A merged tree as a `Project`: types, short forms, defaults, references. Paths are joined, never looked at.

Every problem of a run is gathered in `Reading`; what could not be read is left at its default, so that one mistake
does not hide the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from pycompose.compose.model.deployment import LanguageModel
from pycompose.compose.model.errors import NoSuchService
from pycompose.compose.model.known_words import OBSOLETE
from pycompose.compose.model.project import FileReference, FileSource, IpamPool, Network, Project, Service, Volume

from . import addressing, consistency, declarations, pycompose_section
from . import service as services
from .canonical import network_hash, service_hashes, text_digest, volume_hash
from .paths import absolute
from .reading import WHOLE_FILE, Reading, Section
from .source import Map, Tree

NETWORK = (
    "name",
    "external",
    "driver",
    "driver_opts",
    "internal",
    "attachable",
    "enable_ipv4",
    "enable_ipv6",
    "ipam",
    "labels",
)
TOP = ("version", "name", "services", "networks", "volumes", "configs", "secrets", "include")
ReadEnvFile = Callable[[services.EnvFile, Callable[[str], str | None], Mapping[str, str]], dict[str, str]]


def build(
    tree: Tree,
    reading: Reading,
    *,
    name: str,
    working_dir: str,
    config_files: tuple[str, ...],
    environment_files: tuple[str, ...],
    variables: Mapping[str, str],
    separator: str,
    profiles: tuple[str, ...],
    targets: tuple[str, ...],
    read_env_file: ReadEnvFile | None,
    digest: Callable[[str], str | None],
    resolve_env: bool = True,
    normalize: bool = True,
    resolve_paths: bool = True,
    check_consistency: bool = True,
) -> Project:
    """`read_env_file` reads an env or label file, None none; `digest` is of a file's bytes; flags as in `loader`."""
    top = Section(reading, tree, WHOLE_FILE)
    kept = {k: v for k, v in top.check_keys(TOP, ("models",)).items() if k.startswith("x-")}
    top.text("name")  # what it says is known already, if it is text
    shown = pycompose_section.host_show(top)
    words = {
        "unhealthy": pycompose_section.restarts_unhealthy(top),
        "replica_identity": pycompose_section.replica_identity(top),
    }
    said = [word for word, is_said in words.items() if is_said]
    if "version" in top:
        top.text("version")
        reading.warn_once("version", OBSOLETE, top.map.keys_at.get("version"), "obsolete")
    context = services.Context(working_dir if resolve_paths else "", name, variables, normalize, separator)
    ranges = dict(top.sections("networks"))
    networks = {key: _network(key, s, context) for key, s in ranges.items()}
    volumes = {key: _volume(key, s, context) for key, s in top.sections("volumes")}
    configs = {key: _file_source(key, s, context) for key, s in top.sections("configs")}
    secrets = {key: _file_source(key, s, context) for key, s in top.sections("secrets")}
    models = {key: declarations.read(LanguageModel, s) for key, s in top.sections("models")}
    sections = dict(top.sections("services"))
    asked = {key: section.texts("profiles") for key, section in sections.items()}
    for target in targets:
        if target in asked:
            profiles = (*profiles, *asked[target])
        else:
            hint = reading.suggestion(target, asked)
            reading.problem(NoSuchService.text(target), None, hint, "no-such-service")
    chosen = frozenset(profiles)
    active = frozenset(key for key, its in asked.items() if not its or "*" in chosen or not chosen.isdisjoint(its))
    defined: dict[str, Service] = {}
    for key, section in sections.items():
        environment, labels = _outside(section, context, read_env_file if key in active else None, resolve_env)
        defined[key] = services.read(key, section, context, environment, labels)
    used_default = any(attachment.network == "default" for key in active for attachment in defined[key].networks)
    if used_default and "default" not in networks:
        networks["default"] = _network("default", Section(reading, None, 'network "default"'), context)
    if check_consistency:
        whole = consistency.Whole(defined, sections, active, networks, volumes, configs, secrets, models)
        consistency.check(whole, reading)
        addressing.check(whole, ranges)
    for key, service in defined.items():
        contents, env_files = {}, {}
        if key in active:
            contents = _contents("config", service.configs, configs, digest)
            contents |= _contents("secret", service.secrets, secrets, digest)
            env_files = _env_files(sections[key], context, digest)
        if shown or said:
            contents["x-pycompose"] = text_digest("\0".join((*shown, *said)))
            service = replace(
                service,
                host_show=(*service.host_show, *shown),
                restart_unhealthy=service.restart_unhealthy or words["unhealthy"],
                replica_identity=service.replica_identity or words["replica_identity"],
            )
        config_hash, parts = service_hashes(service, contents, env_files)
        defined[key] = replace(service, config_hash=config_hash, hash_parts=MappingProxyType(parts))
    return Project(
        name=name,
        working_dir=working_dir,
        config_files=config_files,
        environment_files=environment_files,
        services=MappingProxyType({k: s for k, s in defined.items() if k in active}),
        disabled_services=MappingProxyType({k: s for k, s in defined.items() if k not in active}),
        networks=MappingProxyType(networks),
        volumes=MappingProxyType(volumes),
        configs=MappingProxyType(configs),
        secrets=MappingProxyType(secrets),
        models=MappingProxyType(models),
        profiles=tuple(dict.fromkeys(profiles)),
        kept=MappingProxyType(kept),
        obstacles=tuple(reading.obstacles),
        separator=separator,
    )


def _contents(
    kind: str, uses: tuple[FileReference, ...], sources: Mapping[str, FileSource], digest: Callable[[str], str | None]
) -> dict[str, str]:
    """`config app.conf` -> digest of what is in it. A folder is mounted as it is: its files change without us."""
    digests = {}
    for use in uses:
        if (source := sources.get(use.source)) is None:
            continue
        if source.content is not None:
            digests[f"{kind} {use.source}"] = text_digest(source.content)
        elif source.file and (file_digest := digest(source.file)):
            digests[f"{kind} {use.source}"] = file_digest
    return digests


def _env_files(section: Section, context: services.Context, digest: Callable[[str], str | None]) -> dict[str, str]:
    digests = {}
    for entry in services.env_files(section, context):
        if file_digest := digest(entry.path):
            digests[f"env file {entry.path.removeprefix(context.working_dir + '/')}"] = file_digest
    return digests


def _outside(
    section: Section, context: services.Context, read_env_file: ReadEnvFile | None, resolve_env: bool
) -> tuple[dict[str, str | None], dict[str, str]]:
    """A service's environment and labels, with what its env (where `resolve_env` says so) and label files say."""
    environment: dict[str, str] = {}
    variables = context.variables if section.map.scope is None else section.map.scope
    written = section.optional_pairs("environment")

    def known(name: str) -> str | None:
        """What a file's values see before the file itself and the files before it."""
        outside = variables.get(name)
        return written.get(name) if outside is None else outside

    if read_env_file is not None and resolve_env:
        for entry in services.env_files(section, context):
            environment.update(read_env_file(entry, known, environment))
    resolved = {key: variables.get(key) if value is None else value for key, value in written.items()}
    labels: dict[str, str] = {}
    if read_env_file is not None:
        for path in section.texts("label_file"):
            where = absolute(path, context.working_dir)
            # as docker compose has it: the variables of a label file are the labels of the files before it, no others
            labels.update(read_env_file(services.EnvFile(where, True, False, section, "label_file"), labels.get, {}))
    return {**environment, **resolved}, labels | section.pairs("labels")


def _external(section: Section) -> tuple[bool, str | None]:
    value = section.map.get("external")
    if isinstance(value, Map):
        old = section.section("external")
        old.check_keys(("name",))
        where, both = section.path(), "name" in section and "name" in old
        if both:
            message = f"{where}: name and external.name conflict; only use name"
            section.reading.problem(message, old.at("name"), "take external.name away", "conflict")
        elif "name" in old:
            message = f"{where}: external.name is deprecated. Please set name and external: true"
            section.reading.warn_once(message, message, old.at("name"), "deprecated")
        return True, old.text("name")
    return section.flag("external"), None


def _real_name(key: str, section: Section, context: services.Context) -> tuple[bool, str]:
    external, old_name = _external(section)
    if external:
        said = section.map.keys_at.get("external")
        for other in section.map:
            nothing = section.map[other] in (None, {}, [], "")
            if other in ("name", "external") or other.startswith("x-") or nothing:
                continue
            at = section.map.keys_at.get(other)
            if section.name.startswith("volume") and (at is None or said is None or at.path == said.path):
                message = f'{section.path()}: conflicting parameters "external" and "{other}" specified'
                section.reading.problem(message, at, f"external is at {section.at('external')}", "external")
            else:  # an override may say so of what the base describes
                message = f'"{other}" of {section.name}, which is external, has no effect'
                section.reading.warn_once(f"{section.name}.{other}", message, at, "no-effect")
    implied = key if external else f"{context.project}_{key}"
    return external, section.text("name") or old_name or (implied if context.normalize else "")


def _network(key: str, section: Section, context: services.Context) -> Network:
    kept = section.check_keys(NETWORK)
    external, name = _real_name(key, section, context)
    ipam = section.section("ipam")
    ipam.check_keys(("driver", "config"), ("options",))
    for one, usual in ((section, ("bridge", "default")), (ipam, ("default",))):
        if (driver := one.text("driver")) and driver not in usual and not external:
            message = (
                f'driver "{driver}" of {one.name} is not there: the network is a bridge, with addresses of our own'
            )
            section.reading.warn_once(f"{one.name} {driver}", message, one.at("driver"))
    pools = []
    for item in ipam.items("config"):
        pool = section.entry("config", item, f"a pool of {section.name}")
        pool.check_keys(("subnet", "ip_range", "gateway", "aux_addresses"))
        addresses = MappingProxyType(pool.pairs("aux_addresses"))
        pools.append(IpamPool(pool.text("subnet"), pool.text("ip_range"), pool.text("gateway"), addresses))
    network = Network(
        key=key,
        name=name,
        external=external,
        driver=section.text("driver"),
        driver_opts=MappingProxyType(section.pairs("driver_opts")),
        internal=section.flag("internal"),
        attachable=section.flag("attachable"),
        enable_ipv4=section.flag("enable_ipv4", True),
        enable_ipv6=section.flag("enable_ipv6"),
        ipam_driver=ipam.text("driver"),
        ipam_pools=tuple(pools),
        ipam_options=MappingProxyType(ipam.pairs("options", like="aux_addresses")),
        labels=MappingProxyType(section.pairs("labels")),
        kept=MappingProxyType(kept),
    )
    return replace(network, config_hash=network_hash(network))


def _volume(key: str, section: Section, context: services.Context) -> Volume:
    kept = section.check_keys(("name", "external", "driver", "driver_opts", "labels"))
    external, name = _real_name(key, section, context)
    options = section.pairs("driver_opts") if not external else {}
    if "bind" in options.get("o", "") and options.get("device"):
        options["device"] = absolute(options["device"], context.working_dir)
    volume = Volume(
        key=key,
        name=name,
        external=external,
        driver=section.text("driver") if not external else None,
        driver_opts=MappingProxyType(options),
        labels=MappingProxyType(section.pairs("labels") if not external else {}),
        kept=MappingProxyType(kept),
    )
    return replace(volume, config_hash=volume_hash(volume))


def _file_source(key: str, section: Section, context: services.Context) -> FileSource:
    secret = section.name.startswith("secret")
    acted = ("name", "external", "file", "environment", "labels") + (() if secret else ("content",))
    drivers = ("template_driver", "driver", "driver_opts") if secret else ("template_driver",)
    kept = section.check_keys(acted, drivers)
    external, name = _real_name(key, section, context)
    sources = ("file", "environment") + (() if secret else ("content",))
    for source in ("file", "environment"):
        if section.map.get(source) == "":
            section.wrong(source, "the name of one")
    origins = [k for k in sources if section.map.get(k) is not None] + (["external"] if external else [])
    if len(origins) != 1 and not external and not (secret and not origins and "driver" in section):
        fault = "attributes are mutually exclusive" if origins else "must be set"
        message = f"{section.path()}: {'' if origins else 'one of '}{'|'.join(sources)} {fault}"
        hint = f"it has {' and '.join(origins)}" if origins else "such as file: ./path, or external: true"
        section.reading.problem(message, section.origin, hint, "source")
    elif not origins:
        section.reading.lax(f'{section.name} has a "driver", and neither "file" nor "environment"', section.origin)
    file, variable = section.text("file"), section.text("environment")
    content = section.text("content")
    if variable is not None:
        content = (context.variables if section.map.scope is None else section.map.scope).get(variable)
    return FileSource(
        key=key,
        name=name,
        file=absolute(file, context.working_dir) if file else None,
        environment=variable,
        content=content,
        external=external,
        labels=MappingProxyType(section.pairs("labels")),
        driver=section.text("driver"),
        driver_opts=MappingProxyType(section.pairs("driver_opts")),
        template_driver=section.text("template_driver"),
        kept=MappingProxyType({k: v for k, v in kept.items() if k.startswith("x-")}),
    )
