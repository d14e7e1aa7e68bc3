"""Sentences of docker compose's that people search for and scripts match, where several places say them.

Rules: they stand here as docker compose prints them; what to try goes into an error's hint.
"""

from __future__ import annotations

INVALID = "invalid compose project"
NO_FILE = "no configuration file provided: not found"
OBSOLETE = "the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion"


def not_a_name(name: str) -> str:
    """Of what cannot name a project."""
    form = "must consist only of lowercase alphanumeric characters, hyphens, and underscores"
    return f'invalid project name "{name}": {form} as well as start with a letter or number'
