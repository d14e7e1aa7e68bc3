"""Check of values that only a start would refuse: addresses, signals, capabilities, processors, limits, mount options.

Each becomes a problem with its place, while the file is at hand. Names are those of Linux (capability.h, getrlimit(2),
tmpfs(5), mount(8)). Pure.
"""

from __future__ import annotations

import re

from pycompose.compose.model.project import Service, TmpfsMount
from pycompose.errors import Place
from pycompose.signal_names import NUMBERS, signal_number

from .reading import Section, short, words
from .resources import place
from .source import Map, Seq, Text

CAPABILITIES = words("""
    ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH
    FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN
    NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT
    SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM
""")
ULIMITS = words("""
    as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack
""")
TMPFS = words("""
    ro rw exec noexec suid nosuid dev nodev sync async dirsync atime noatime diratime nodiratime relatime norelatime
    strictatime nostrictatime private rprivate shared rshared slave rslave unbindable runbindable defaults
""")
TMPFS_VALUES = words("size mode uid gid nr_inodes nr_blocks mpol huge")
CPUSET = re.compile(r"[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*\Z")


def check(service: Service, section: Section) -> None:
    _addresses(service, section)
    _names(service, section)
    _limits(service, section)
    for mount in service.mounts:
        if isinstance(mount, TmpfsMount):
            _tmpfs(mount, section)


def _item(section: Section, key: str, start: str) -> Place | None:
    """Where a list or a mapping has the entry that is this text, or begins with it and a separator."""
    value = section.map.get(key)
    if isinstance(value, Map):
        return value.keys_at.get(start) or section.at(key)
    for item in value if isinstance(value, Seq) else ():
        if isinstance(item, Text) and (item == start or item.startswith((f"{start}=", f"{start}:"))):
            return item.at
    return section.at(key)


def _is_address(text: str) -> bool:
    from ipaddress import ip_address  # 3 ms that a file without addresses does not need

    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _addresses(service: Service, section: Section) -> None:
    for server in service.dns:
        if not _is_address(server):
            message = f'"{short(server)}" in "dns" of {section.name} is no address'
            section.reading.problem(message, _item(section, "dns", server), "such as 1.1.1.1", "address")
    for name, address in service.extra_hosts:
        if address != "host-gateway" and not _is_address(address):
            message = f'"{short(address)}", the address of "{short(name)}" in "extra_hosts" of {section.name}, is none'
            hint = 'such as "db=10.0.0.5"; host-gateway is this machine'
            section.reading.problem(message, _item(section, "extra_hosts", name), hint, "address")


def _names(service: Service, section: Section) -> None:
    if (signal := service.stop_signal) and signal_number(signal) is None:
        hint = section.reading.suggestion(signal.upper(), [f"SIG{name}" for name in NUMBERS]) or "such as SIGINT, or 2"
        message = f'"stop_signal" of {section.name} is no signal: "{short(signal)}"'
        section.reading.problem(message, section.at("stop_signal"), hint, "signal")
    for key, names in (("cap_add", service.cap_add), ("cap_drop", service.cap_drop)):
        for name in names:
            if name.upper().removeprefix("CAP_") not in CAPABILITIES:
                hint = (
                    section.reading.suggestion(name.upper().removeprefix("CAP_"), CAPABILITIES) or "such as NET_ADMIN"
                )
                message = f'"{short(name)}" in "{key}" of {section.name} is no capability'
                section.reading.problem(message, _item(section, key, name), hint, "capability")


def _limits(service: Service, section: Section) -> None:
    reading, limits = section.reading, service.resources
    if limits.cpuset and not _is_cpuset(limits.cpuset):
        message = f'"cpuset" of {section.name} is no list of processors: "{short(limits.cpuset)}"'
        reading.problem(message, section.at("cpuset"), 'such as "0-3,5"', "value")
    if limits.cpus is not None and limits.cpus < 0:
        at = section.at("cpus") if "cpus" in section else place(section, "deploy", "resources", "limits", "cpus")
        reading.problem(f"{section.name} cannot have {limits.cpus:g} processors", at, 'such as "0.5"', "value")
    for name, limit in service.ulimits.items():
        at = place(section, "ulimits", name)
        if name not in ULIMITS:
            hint = reading.suggestion(name, ULIMITS) or "such as nofile"
            message = f'"{short(name)}" in "ulimits" of {section.name} is no limit'
            reading.problem(message, _item(section, "ulimits", name), hint, "ulimit")
        elif 0 <= limit.hard < limit.soft or (limit.soft == -1 and limit.hard >= 0):
            message = f'the soft limit "{name}" of {section.name} is above the hard one'
            reading.problem(message, at, f"it is {limit.soft}, and {limit.hard} at most", "ulimit")


def _is_cpuset(text: str) -> bool:
    parts = [part.split("-") for part in text.split(",")]
    return bool(CPUSET.match(text)) and all(len(part) == 1 or int(part[0]) <= int(part[1]) for part in parts)


def _tmpfs(mount: TmpfsMount, section: Section) -> None:
    for option in mount.options:
        name, equals, _ = option.partition("=")
        if name not in (TMPFS_VALUES if equals else TMPFS):
            message = f'"{short(option)}" is no option of a tmpfs, at "{mount.target}" of {section.name}'
            hint = section.reading.suggestion(name, TMPFS | TMPFS_VALUES) or "such as size=64m, mode=1777, noexec"
            section.reading.problem(message, _item(section, "tmpfs", mount.short or ""), hint, "mount")
