"""A project's compose files and env files, as a look at the folders tells, without parsing YAML.

Rules: it finds what the loader would find, and imports next to nothing, since every command begins with it.
"""

from __future__ import annotations

import os

from pycompose.errors import PycomposeError

from .choices import Choices

FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")  # as the loader's
LONGEST = 1 << 20  # characters of an env file that are looked at
OVERRIDES = tuple(f"{stem}.override.{end}" for stem in ("compose", "docker-compose") for end in ("yml", "yaml"))


def found_files(choices: Choices) -> list[str]:
    """The compose file that lies here or above, and its override; none where a variable names others."""
    if choices.environment.get("COMPOSE_FILE"):
        return []
    folder = absolute(choices.project_directory or ".")
    while folder:
        for name in FILES:
            if os.path.isfile(f"{folder}/{name}"):
                overrides = [f"{folder}/{other}" for other in OVERRIDES if os.path.isfile(f"{folder}/{other}")]
                return [f"{folder}/{name}", *overrides[:1]]
        if folder == os.path.dirname(folder):
            return []
        folder = os.path.dirname(folder)
    return []


def absolute(path: str) -> str:
    """The path made absolute; empty where the current directory is gone and it is relative."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        return ""


def variables_of_env_files(choices: Choices) -> dict[str, str]:
    """What the project's env files say of the variables that stand for options, but for what the process has.

    Empty where a file cannot be read: whoever needs it says so.
    """
    from pycompose.compose.model.own_variables import OF_COMMANDS, switched_on

    named = choices.env_files or tuple(filter(None, choices.environment.get("COMPOSE_ENV_FILES", "").split(",")))
    if not named and not switched_on(choices.environment.get("COMPOSE_DISABLE_ENV_FILE")):
        folder = choices.project_directory or (os.path.dirname(choices.files[0]) if choices.files else "")
        above = os.path.dirname((found_files(choices) or [""])[0]) if not choices.files and not folder else ""
        named = tuple(dict.fromkeys(f"{absolute(each)}/.env" for each in (above or folder, folder)))
    variables: dict[str, str] = {}
    for path in named:
        try:
            if not os.path.isfile(path):  # a pipe can be read once: by who needs all of it
                continue
            with open(path, encoding="utf-8-sig") as file:
                text = file.read(LONGEST)
            if any(name in text for name in OF_COMMANDS):
                from pycompose.compose.file import dotenv

                variables.update(dotenv.parse(text, path, choices.environment.get, earlier=variables))
        except (OSError, ValueError, PycomposeError):
            return {}
    return {name: value for name in OF_COMMANDS.keys() - choices.environment.keys() if (value := variables.get(name))}
