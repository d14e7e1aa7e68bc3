"""The stages of one container as the monitor sees it: a table of what may happen in each, and what follows. Pure.

Everything may happen in every stage: a plan and the container itself act at once. (stage, event) -> stage, effect:

    created  starting         -> created  forget
    created  started          -> running  watch
    created  ended            -> exited   rest
    created  ended to return  -> waiting  back off
    created  stopping         -> created  give up
    created  refused          -> created  stay
    running  starting         -> created  forget
    running  started          -> running  watch
    running  ended            -> exited   rest
    running  ended to return  -> waiting  back off
    running  stopping         -> running  give up
    running  refused          -> running  stay
    waiting  starting         -> created  forget
    waiting  started          -> running  watch
    waiting  ended            -> exited   rest
    waiting  ended to return  -> waiting  back off
    waiting  stopping         -> exited   give up
    waiting  refused          -> exited   stay
    exited   starting         -> created  forget
    exited   started          -> running  watch
    exited   ended            -> exited   rest
    exited   ended to return  -> waiting  back off
    exited   stopping         -> exited   give up
    exited   refused          -> exited   stay
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class MonitorStage(Enum):
    CREATED = "created"  # it never ran, or a plan starts it just now
    RUNNING = "running"
    WAITING = "waiting"  # it ended, and is started again after its back-off
    EXITED = "exited"  # it ended, and stays so


class MonitorEvent(Enum):
    STARTING = "starting"  # a plan is going to start it
    STARTED = "started"
    ENDED = "ended"
    ENDED_TO_RETURN = "ended to return"  # and its restart policy wants it back
    STOPPING = "stopping"  # a plan is going to stop it
    REFUSED = "refused"  # nobody starts it again: it cannot be, or whoever was to start it has gone


class MonitorEffect(Enum):
    FORGET = "forget"  # its health, restarts and end
    WATCH = "watch"  # its health from now on
    REST = "rest"  # record that no policy brings it back
    STAY = "stay"  # record that nobody brings it back
    BACK_OFF = "back off"  # then start it again
    GIVE_UP = "give up"  # record that its end is wanted, so that no policy brings it back


_S, _V, _E = MonitorStage, MonitorEvent, MonitorEffect
_ALWAYS = {
    _V.STARTING: (_S.CREATED, _E.FORGET),
    _V.STARTED: (_S.RUNNING, _E.WATCH),
    _V.ENDED: (_S.EXITED, _E.REST),
    _V.ENDED_TO_RETURN: (_S.WAITING, _E.BACK_OFF),
}

TRANSITIONS: Mapping[tuple[MonitorStage, MonitorEvent], tuple[MonitorStage, MonitorEffect]] = MappingProxyType(
    {
        (stage, event): then
        for stage in MonitorStage
        for event, then in {
            **_ALWAYS,
            _V.STOPPING: (_S.EXITED if stage is _S.WAITING else stage, _E.GIVE_UP),
            _V.REFUSED: (_S.EXITED if stage is _S.WAITING else stage, _E.STAY),
        }.items()
    }
)


def drawing() -> str:
    """The table as the text at the head of this module."""
    return "\n".join(
        f"    {stage.value:<8} {event.value:<16} -> {after.value:<8} {effect.value}"
        for (stage, event), (after, effect) in TRANSITIONS.items()
    )
