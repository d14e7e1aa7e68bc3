"""`network`: the networks of this machine, of projects and by hand. No supervisor is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.app.image_store import translated_errors
from pycompose.compose.cli import filters
from pycompose.compose.cli.arguments import FORMAT
from pycompose.compose.cli.image_options import QUIET, pairs
from pycompose.compose.cli.machine_command import MachineGroup
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.inspected import show_objects
from pycompose.compose.cli.output.listing import Listing, label_of, labels_text

if TYPE_CHECKING:
    from pycompose.network.spec import NetworkRecord

LISTING = Listing(
    {"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE"},
    ("CreatedAt", "IPv4", "IPv6", "Internal", "Label", "Labels"),
    setting="networksFormat",
)
OPTIONS = (
    "com.docker.network.driver.mtu",
    "com.docker.network.bridge.name",
    "com.docker.network.bridge.enable_ip_masquerade",
)
ABSENT = {
    "links": "--link",
    "link_local": "--link-local-ip",
    "options": "--driver-opt",
    "priority": "--gw-priority",
}
KEYS = ("name", "id", "driver", "scope", "type", "label", "dangling")
NAMES = click.argument("names", nargs=-1, required=True)


@click.group(cls=MachineGroup)
def network() -> None:
    """Networks on this machine."""


@network.command(name="ls", harmless=True)
@QUIET
@FORMAT
@click.option("--no-trunc", is_flag=True, help="Print ids whole.")
@filters.OPTION
def list_networks(quiet: bool, form: str | None, no_trunc: bool, texts: tuple[str, ...]) -> None:
    """List the networks of this machine."""
    from pycompose.compose.app import inspection
    from pycompose.runtime.places import Places

    form = LISTING.form(form)
    with translated_errors():
        rows = [_row(one, no_trunc) for one in _matching(inspection.network_records(Places.default()), texts)]
    if quiet:
        for row in rows:
            terminal.say(row["ID"])
    else:
        LISTING.show(form, rows)


def _matching(records: list[NetworkRecord], texts: tuple[str, ...]) -> list[NetworkRecord]:
    from pycompose.compose.app import inspection, network_operations
    from pycompose.runtime.places import Places

    wanted = filters.parsed(texts, KEYS)
    unused = {one.name for one in network_operations.unused(Places.default())} if "dangling" in wanted else set()

    def matches(one: NetworkRecord) -> bool:
        return (
            ("name" not in wanted or any(text in one.name for text in wanted["name"]))
            and ("id" not in wanted or any(inspection.network_id(one).startswith(text) for text in wanted["id"]))
            and "bridge" in wanted.get("driver", ["bridge"])
            and "local" in wanted.get("scope", ["local"])
            and ("builtin" if one.name == "bridge" else "custom") in wanted.get("type", ["builtin", "custom"])
            and filters.labelled(one.labels, wanted.get("label", ()))
            and ("dangling" not in wanted or filters.truth(wanted["dangling"]) == (one.name in unused))
        )

    return [one for one in records if matches(one)]


def _row(one: NetworkRecord, whole: bool) -> dict[str, Any]:
    """The keys of `docker network ls --format json`."""
    from pycompose.compose.app import inspection

    return {
        "CreatedAt": inspection.moment(one.created),
        "Driver": "bridge",
        "ID": inspection.network_id(one) if whole else inspection.network_id(one)[:12],
        "IPv4": "true",
        "IPv6": str(len(one.subnets) > 1).lower(),
        "Internal": str(one.internal).lower(),
        "Label": label_of(one.labels),
        "Labels": labels_text(one.labels),
        "Name": one.name,
        "Scope": "local",
    }


@network.command(name="inspect", harmless=True)
@click.option("-f", "--format", "form", metavar="FORM", help="json (the default), or a template.")
@click.option("-v", "--verbose", is_flag=True, hidden=True)  # of swarms
@NAMES
def inspect_networks(form: str | None, verbose: bool, names: tuple[str, ...]) -> None:
    """Print all that is known of networks, as docker's JSON."""
    from pycompose.compose.app import inspection
    from pycompose.runtime.places import Places

    roots = Places.default()

    def look(name: str) -> dict[str, Any] | None:
        record = inspection.network_named(roots, name)
        return inspection.network_json(roots, record) if record else None

    with translated_errors():
        show_objects(names, look, form, "no such network")


@network.command(name="create")
@click.option("-d", "--driver", default="bridge", metavar="DRIVER", help="bridge; there is no other.")
@click.option("--subnet", "subnets", multiple=True, metavar="CIDR", help="Its addresses (10.1.0.0/16).")
@click.option("--gateway", "gateways", multiple=True, metavar="IP", help="The address of this machine on it.")
@click.option("--ip-range", "ranges", multiple=True, metavar="CIDR", help="The part of the subnet that is given out.")
@click.option("--aux-address", "reserved", multiple=True, metavar="NAME=IP", help="An address that is not given out.")
@click.option("--internal", is_flag=True, help="Without a way out.")
@click.option("--ipv6", is_flag=True, help="With IPv6 addresses, too.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label.")
@click.option("-o", "--opt", "options", multiple=True, metavar="KEY=VALUE", help="As driver_opts in a file.")
@click.option("--attachable", is_flag=True, hidden=True)  # of swarms: every network is, here
@click.argument("name")
def create_network(driver: str, name: str, attachable: bool, **settings: Any) -> None:
    """Make a network, to be used as an external one."""
    from pycompose.compose.app import inspection, network_operations
    from pycompose.network.spec import NetworkSpec
    from pycompose.runtime.places import Places

    if driver != "bridge":
        raise click.BadParameter(f"{driver!r}: there is bridge alone", param_hint="--driver")
    options = pairs(settings["options"])
    if unknown := sorted(options.keys() - set(OPTIONS)):
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(OPTIONS)}", param_hint="--opt")
    mtu = options.get("com.docker.network.driver.mtu", "")
    if mtu and not mtu.isdecimal():
        raise click.BadParameter(f"an MTU is a number of bytes, not {mtu!r}", param_hint="--opt")
    spec = NetworkSpec(
        name,
        "",
        internal=settings["internal"],
        ipv6=settings["ipv6"],
        pools=_pools(settings),
        mtu=int(mtu) if mtu else None,
        bridge=options.get("com.docker.network.bridge.name"),
        masquerade=options.get("com.docker.network.bridge.enable_ip_masquerade", "true") != "false",
        labels=pairs(settings["labels"]),
    )
    with translated_errors():
        terminal.say(inspection.network_id(network_operations.create(Places.default(), spec)))


def _pools(settings: dict[str, Any]) -> tuple[Any, ...]:
    """The gateways and ranges with the subnets that they are of. Raises click.UsageError."""
    from ipaddress import ip_address, ip_network

    from pycompose.network.spec import Pool

    try:
        subnets = [ip_network(text, strict=False) for text in settings["subnets"]]
        gateways = {text: ip_address(text) for text in settings["gateways"]}
        ranges = {text: ip_network(text, strict=False) for text in settings["ranges"]}
        reserved = [text.rpartition("=")[2] for text in settings["reserved"]]
        for text in reserved:
            ip_address(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not subnets and (gateways or ranges or reserved):
        raise click.UsageError("--gateway, --ip-range and --aux-address need the --subnet that they are of")
    pools = []
    for subnet in subnets:
        gateway = next((text for text, address in gateways.items() if address in subnet), None)
        range_ = next((text for text, part in ranges.items() if part.network_address in subnet), None)
        pools.append(Pool(str(subnet), range_, gateway, tuple(text for text in reserved if ip_address(text) in subnet)))
    if strays := [text for text, address in gateways.items() if not any(address in subnet for subnet in subnets)]:
        raise click.UsageError(f"gateway {strays[0]} is in none of the subnets")
    return tuple(pools)


@network.command(name="connect", harmless=True)
@click.option("--alias", "aliases", multiple=True, metavar="NAME", help="A further name of it on the network.")
@click.option("--ip", "four", metavar="IP", help="Its IPv4 address there.")
@click.option("--ip6", "six", metavar="IP", help="Its IPv6 address there.")
@click.option("--link", "links", multiple=True, hidden=True)
@click.option("--link-local-ip", "link_local", multiple=True, hidden=True)
@click.option("--driver-opt", "options", multiple=True, hidden=True)
@click.option("--gw-priority", "priority", type=int, hidden=True)
@click.argument("name", metavar="NETWORK")
@click.argument("container")
@click.pass_obj
def connect_network(
    choices: Choices,
    /,
    aliases: tuple[str, ...],
    four: str | None,
    six: str | None,
    name: str,
    container: str,
    **others: Any,
) -> None:
    """Put a container on a network: at once if it runs, else from its next start."""
    from pycompose.compose.app import network_operations
    from pycompose.compose.cli.drawing import shown
    from pycompose.compose.plan.steps import ConnectNetwork
    from pycompose.runtime.places import Places

    for key, flag in ABSENT.items():
        if others[key] not in ((), None):
            raise click.UsageError(f"{flag} is not there: of a network that a file names, the file can say it")
    for text, version in ((four, 4), (six, 6)):
        _check_address(text, version)
    with translated_errors():
        outcome = network_operations.change_connection(
            Places.default(),
            name,
            container,
            lambda holder, network: ConnectNetwork(holder, network, aliases, four, six),
            dry_run=choices.dry_run,
        )
    if outcome is not None:
        shown(choices, outcome)


def _check_address(text: str | None, version: int) -> None:
    """Raises click.UsageError for what is no address of that version of IP."""
    from ipaddress import ip_address

    if text is not None:
        try:
            right = ip_address(text).version == version
        except ValueError:
            right = False
        if not right:
            raise click.UsageError(f"invalid IPv{version} address: {text}")


@network.command(name="disconnect", harmless=True)
@click.option("-f", "--force", is_flag=True, help="No error if there is no such container, or it is not on it.")
@click.argument("name", metavar="NETWORK")
@click.argument("container")
@click.pass_obj
def disconnect_network(choices: Choices, force: bool, name: str, container: str) -> None:
    """Take a container off a network, now and at its next starts."""
    from pycompose.compose.app import network_operations
    from pycompose.compose.cli.drawing import shown
    from pycompose.compose.plan.steps import DisconnectNetwork
    from pycompose.runtime.places import Places

    with translated_errors():
        outcome = network_operations.change_connection(
            Places.default(), name, container, DisconnectNetwork, force=force, dry_run=choices.dry_run
        )
    if outcome is not None:
        shown(choices, outcome)


@network.command(name="rm")
@click.option("-f", "--force", is_flag=True, help="No error if there is none.")
@NAMES
def remove_networks(force: bool, names: tuple[str, ...]) -> None:
    """Remove networks that no container is made for."""
    from pycompose.compose.app import network_operations
    from pycompose.runtime.places import Places

    with translated_errors():
        for name in names:
            try:
                terminal.say(network_operations.remove(Places.default(), name))
            except network_operations.NoSuchNetworkHere:
                if not force:
                    raise


@network.command(name="prune")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "texts", multiple=True, metavar="label=…", help="Only those that match.")
def prune_networks(force: bool, texts: tuple[str, ...]) -> None:
    """Remove all networks that no container is made for."""
    from pycompose.compose.app import network_operations
    from pycompose.runtime.places import Places

    wanted = filters.parsed(texts, ("label",))
    roots = Places.default()
    with translated_errors():
        chosen = [
            one for one in network_operations.unused(roots) if filters.labelled(one.labels, wanted.get("label", ()))
        ]
        if chosen and not force:
            click.confirm(
                f"Going to remove {', '.join(one.name for one in chosen)}\nAre you sure?", abort=True, err=True
            )
        gone = network_operations.prune(roots, chosen)
    if gone:
        terminal.say("Deleted Networks:\n" + "\n".join(gone))
