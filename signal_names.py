"""Names of signals as Docker takes them: `SIGTERM`, `term`, `15`, `RTMIN+3`, `SIGRTMAX-2`. The one reader of them."""

from __future__ import annotations

import re

# signal(7), as on x86 and ARM; names that share a number stand together.
_NAMES = """
    HUP INT QUIT ILL TRAP ABRT/IOT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD/CLD CONT STOP TSTP TTIN TTOU
    URG XCPU XFSZ VTALRM PROF WINCH IO/POLL PWR SYS/UNUSED
"""
NUMBERS = {name: number for number, names in enumerate(_NAMES.split(), 1) for name in names.split("/")}
RTMIN, RTMAX = 34, 64  # the C libraries keep 32 and 33 to themselves
_REAL_TIME = re.compile(r"RTMIN(?:\+([0-9]{1,2}))?|RTMAX(?:-([0-9]{1,2}))?")


def signal_number(text: str) -> int | None:
    """The number of a signal, by its name in either case or as digits; None for what is none."""
    if text.isascii() and text.isdecimal():
        return int(text) if len(text) < 4 and 0 < int(text) <= RTMAX else None
    name = text.upper().removeprefix("SIG")
    if match := _REAL_TIME.fullmatch(name):
        number = RTMIN + int(match[1] or 0) if name.startswith("RTMIN") else RTMAX - int(match[2] or 0)
        return number if RTMIN <= number <= RTMAX else None
    return NUMBERS.get(name)
