"""Sensitive data in texts that are about to be published: keys and tokens, known by their form or by their names. Pure.

Source: the kinds and their words are those that docker compose tells of.
"""

from __future__ import annotations

import re

from pycompose.frozen import dataclass

KINDS = (
    ("AWS Client ID", re.compile(r"(?<![A-Z0-9])(?:A3T[A-Z0-9]|AKIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ASIA)[A-Z0-9]{16}")),
    ("AWS Secret Key", re.compile(r"(?i)aws.{0,20}[\"'][0-9a-z/+]{40}[\"']")),
    ("Github authentication", re.compile(r"(?:gh[pousr]_[A-Za-z0-9_]{36,}|github_pat_[A-Za-z0-9_]{22,})")),
    ("JSON Web Token", re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*")),
    ("Private Key", re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----[^-]*(?:-----END [A-Z ]+-----)?")),
    ("URL with password", re.compile(r"[a-z][a-z0-9+.-]*://[^\s:/@$]+:[^\s/@${}][^\s/@]*@[^\s/]+")),
)
SECRET_NAME = re.compile(
    r"(?i)pass(?:word|wd|phrase)?(?![a-z])|pwd|secret|token|credential|(?:api|auth|service|account|db|database|private|priv"
    r"|client|access|encryption|signing)_?key"
)
LITERAL = re.compile(r"[^${\s].+[^}\s]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DetectedSecret:
    kind: str
    key: str  # where it was found, "" where nothing names it
    value: str


def secrets_in(text: str, key: str = "") -> list[DetectedSecret]:
    return [DetectedSecret(kind, key, match[0]) for kind, form in KINDS for match in form.finditer(text)]


def is_literal(value: str) -> bool:
    """Whether a value would be published as it is: no variable that is filled in elsewhere."""
    return LITERAL.match(value.replace("$$", "X")) is not None


def is_secret_by_name(key: str, value: str) -> bool:
    return SECRET_NAME.search(key) is not None and is_literal(value)
