"""The variables of docker compose's own that mean something here: one table, with what each says.

A variable of the process wins over one of an env file, also where it is empty; an empty one gives an option no value.
docs/variables.md has the same names, and a test compares the two.
"""

from __future__ import annotations

# They say which project it is, and which containers of it: whoever reads the files reads these.
OF_PROJECT = {
    "COMPOSE_COMPATIBILITY": "`--compatibility`: names are joined with `_`, as Compose 1 did",
    "COMPOSE_FILE": "`-f`, several with `:` between them",
    "COMPOSE_PATH_SEPARATOR": "what stands between the files of COMPOSE_FILE instead of `:`",
    "COMPOSE_PROFILES": "`--profile`, several with `,` between them",
    "COMPOSE_PROJECT_NAME": "`-p`",
}
# They stand for options that a command was not given.
OF_COMMANDS = {
    "COMPOSE_ANSI": "`--ansi`",
    "COMPOSE_IGNORE_ORPHANS": "containers of services that the file does not have are not spoken of",
    "COMPOSE_PARALLEL_LIMIT": "`--parallel`",
    "COMPOSE_PROGRESS": "`--progress`",
    "COMPOSE_REMOVE_ORPHANS": "`--remove-orphans` of `up`, `create` and `down`",
    "COMPOSE_STATUS_STDOUT": "progress goes to standard output",
    "DOCKER_DEFAULT_PLATFORM": "`platform` of services that have none",
}
# They say which env files there are, and so cannot stand in one.
OF_PROCESS = {
    "COMPOSE_DISABLE_ENV_FILE": "`.env` is not read",
    "COMPOSE_ENV_FILES": "`--env-file`, several with `,` between them",
}


def switched_on(value: str | None) -> bool:
    """Whether a variable's value says yes, as docker compose reads it."""
    return (value or "").strip().lower() in ("1", "t", "true", "y", "yes")
