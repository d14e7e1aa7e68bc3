"""The stages of one container in the keeper: a table of what may happen in each, and what follows. Pure.

A container that never ran leaves no process.json, and no end of it is told. (stage, occurrence) -> stage, effect:

    making   reported ready   -> ready    hand out
    making   channel closed   -> doomed   kill
    making   reported failure -> doomed   kill
    making   given up         -> doomed   kill
    making   died             -> failed   finish
    ready    go               -> going    release
    ready    channel closed   -> doomed   kill
    ready    reported failure -> doomed   kill
    ready    given up         -> doomed   kill
    ready    died             -> failed   finish
    going    channel closed   -> running  confirm
    going    reported failure -> doomed   kill
    going    given up         -> doomed   kill
    going    died             -> failed   finish
    doomed   given up         -> doomed   kill
    doomed   died             -> failed   finish
    running  died             -> ended    finish
    failed   given up         -> failed   nothing
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class ContainerStage(Enum):
    MAKING = "making"  # its first process builds what is inside
    READY = "ready"  # that waits for `Go`
    GOING = "going"  # and was told to
    RUNNING = "running"  # its program runs
    DOOMED = "doomed"  # it is not to run, and is killed
    ENDED = "ended"  # it ran; its remaining processes are killed and its end is recorded
    FAILED = "failed"  # it did not


class Occurrence(Enum):
    REPORTED_READY = "reported ready"
    GO = "go"
    CHANNEL_CLOSED = "channel closed"  # by execve, or by the death of the first process
    REPORTED_FAILURE = "reported failure"
    GIVEN_UP = "given up"  # on request, or because whoever started it is gone
    DIED = "died"


class Effect(Enum):
    HAND_OUT = "hand out"  # answer `Start` with its descriptors, and copy its output
    RELEASE = "release"  # record the process, and let its program run
    CONFIRM = "confirm"  # answer `Go`
    KILL = "kill"
    FINISH = "finish"  # clear away what is left, and tell the end or the failure
    NOTHING = "nothing"


_S, _O, _E = ContainerStage, Occurrence, Effect
_DOOM = {
    _O.REPORTED_FAILURE: (_S.DOOMED, _E.KILL),
    _O.GIVEN_UP: (_S.DOOMED, _E.KILL),
    _O.DIED: (_S.FAILED, _E.FINISH),
}

TRANSITIONS: Mapping[tuple[ContainerStage, Occurrence], tuple[ContainerStage, Effect]] = MappingProxyType(
    {
        (stage, occurrence): then
        for stage, row in {
            _S.MAKING: {
                _O.REPORTED_READY: (_S.READY, _E.HAND_OUT),
                _O.CHANNEL_CLOSED: (_S.DOOMED, _E.KILL),
                **_DOOM,
            },
            _S.READY: {
                _O.GO: (_S.GOING, _E.RELEASE),
                _O.CHANNEL_CLOSED: (_S.DOOMED, _E.KILL),
                **_DOOM,
            },
            _S.GOING: {_O.CHANNEL_CLOSED: (_S.RUNNING, _E.CONFIRM), **_DOOM},
            _S.DOOMED: {_O.GIVEN_UP: (_S.DOOMED, _E.KILL), _O.DIED: (_S.FAILED, _E.FINISH)},
            _S.RUNNING: {_O.DIED: (_S.ENDED, _E.FINISH)},
            _S.FAILED: {_O.GIVEN_UP: (_S.FAILED, _E.NOTHING)},
        }.items()
        for occurrence, then in row.items()
    }
)

RAN = (_S.RUNNING, _S.ENDED)


def drawing() -> str:
    """The table as the text at the head of this module."""
    return "\n".join(
        f"    {stage.value:<8} {occurrence.value:<16} -> {after.value:<8} {effect.value}"
        for (stage, occurrence), (after, effect) in TRANSITIONS.items()
    )
