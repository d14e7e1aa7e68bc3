"""Moments, as people write them: a time of day, an age, seconds since the epoch; and as logs and events have them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from pycompose.compose.model.quantities import duration_of

Moment = str | datetime | timedelta  # as text, a time, or an age


def parse(moment: Moment, now: float) -> float:
    """Unix seconds of "2026-01-31T12:00:00Z", "42m" (that long ago), or seconds since the epoch. Raises ValueError."""
    if isinstance(moment, timedelta):
        return now - moment.total_seconds()
    if isinstance(moment, datetime):
        return moment.timestamp()
    if (duration := duration_of(moment)) is not None:
        return now - duration if moment[-1:].isalpha() else duration
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", moment)).timestamp()
    except ValueError as error:
        raise ValueError(f"{moment!r} is neither a time (2026-01-31T12:00:00) nor an age (42m)") from error


def stamp(seconds: float) -> bytes:
    """As the log writes it: RFC 3339 in UTC with nanoseconds."""
    return (datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z").encode()


def nanoseconds(seconds: float) -> int:
    """As the record of events has it."""
    whole = stamp(seconds).decode()
    return int(datetime.fromisoformat(whole[:19] + "+00:00").timestamp()) * 1_000_000_000 + int(whole[20:29])
