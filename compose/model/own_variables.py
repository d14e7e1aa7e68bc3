"""The variables of docker compose's own, COMPOSE_*: one table of those that mean something here.

A variable of the process wins over one of an env file, also where it is empty; an empty one gives an option no value.
"""

from __future__ import annotations

# They say which project it is, and which containers of it: whoever reads the files reads these.
OF_PROJECT = frozenset(
    {
        "COMPOSE_COMPATIBILITY",
        "COMPOSE_FILE",
        "COMPOSE_PATH_SEPARATOR",
        "COMPOSE_PROFILES",
        "COMPOSE_PROJECT_NAME",
    }
)
# They stand for options that a command was not given.
OF_COMMANDS = frozenset(
    {
        "COMPOSE_ANSI",
        "COMPOSE_IGNORE_ORPHANS",
        "COMPOSE_PARALLEL_LIMIT",
        "COMPOSE_PROGRESS",
        "COMPOSE_REMOVE_ORPHANS",
        "COMPOSE_STATUS_STDOUT",
    }
)
# They say which env files there are, and so cannot stand in one.
OF_PROCESS = frozenset({"COMPOSE_DISABLE_ENV_FILE", "COMPOSE_ENV_FILES"})


def switched_on(value: str | None) -> bool:
    """Whether a variable's value says yes, as docker compose reads it."""
    return (value or "").strip().lower() in ("1", "t", "true", "y", "yes")
