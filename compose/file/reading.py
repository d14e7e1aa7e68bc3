"""Values of a tree as the types that attributes have. A mismatch becomes a Problem with its place; nothing raises."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping

from pycompose.compose.model.errors import FileError, Obstacle, Problem
from pycompose.compose.model.quantities import duration_of, size_of
from pycompose.compose.model.suggest import suggestion
from pycompose.errors import Place

from .merge import pairs
from .schema_words import CASTS, SCHEMA
from .source import FALSE, FLOAT, TRUE, Map, Seq, Text, Tree, plain_value, position, spelled, whole

YES = frozenset({"1", "y", "yes", "on", "t"})  # what is a boolean here; to compose-go too, but for REFUSED
NO = frozenset({"", "0", "n", "no", "off", "f"})
REFUSED = frozenset({"", "0", "1", "f", "t"})
OCTAL = re.compile(r"(?:0o)?([0-7]{1,6})\Z")
COMMAND = 2 << 20  # characters: as many as Linux takes
DIGITS = re.compile(r"[-+]?[0-9]{1,30}\Z")


# how a value of a kind is written: (the beginning of) what is wanted -> an example
FORMS = {
    "true or false": "true",
    "a whole number": "3",
    "a number": "0.5",
    "an octal mode": '"0440"',
    "a size": "512m",
    "a duration": "1m30s",
    "a list of text": "[one, two]",
    "a list or a mapping of": "[one, two]",
    "a list": "[one, two]",
    "a mapping or a list of NAME=value": "{NAME: value}",
    "a mapping": "{NAME: value}",
    "text or a list of text": "text, or [one, two]",
    "text": 'text; "in quotes" where it looks like something else',
    "no, always": "unless-stopped",
    "always, never, missing": "missing",
    "letters, digits": "web-1",
    "a port or a range": '"8080-8090"',
    "a port": "80",
    "an address": "127.0.0.1",
    "the name of one": "./file.txt",
}


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# docker compose's schema: attributes that are a list or a mapping, that may be null, that may be numbers, or one text
GROUPS = words("""
    additional_contexts annotations args blkio_config build cache_from cache_to cap_add cap_drop config configs
    credential_spec depends_on device_cgroup_rules device_read_bps device_read_iops device_write_bps
    device_write_iops devices dns dns_opt dns_search driver_opts entitlements env_file environment expose external_links
    extra_hosts gpus group_add healthcheck include ipam label_file labels limits links logging models networks options
    placement platforms ports post_start pre_start pre_stop profiles provider reservations resources restart_policy
    rollback_config secrets security_opt services ssh storage_opt sysctls tags tmpfs ulimits update_config volumes
    volumes_from watch weight_device
""")
NULLABLE = words("command deploy develop entrypoint")
LISTS = words("""
    cache_from cache_to cap_add cap_drop config configs depends_on device_cgroup_rules device_read_bps device_read_iops
    device_write_bps device_write_iops devices dns dns_opt dns_search entitlements env_file expose external_links gpus
    group_add include label_file placement platforms ports post_start pre_start pre_stop profiles secrets security_opt
    tags tmpfs volumes volumes_from watch weight_device
""")  # of GROUPS, what its schema wants first
WHOLE_FILE = "a compose file"
NUMBERS_TOO = words("expose group_add ports published")
SWITCHES_TOO = words("provenance sbom")
REPEATED = words("""
    cache_from cache_to constraints entitlements env_file label_file no_cache_filter path platforms runtime_flags tags
""")  # lists that may say something twice
MAPPINGS = words("aux_addresses driver_opts options storage_opt")  # that no list of NAME=value can stand for
NUMBERS_ALONE = words("context_size gw_priority priority weight")  # a number in quotes is text there
MAY_BE_EMPTY = words("endpoint_mode failure_action mode propagation protocol")  # as if they were not there
WHOLE_SIZES = words("mem_reservation rate size")
ONE_OR_MORE = words("dns dns_search env_file include ignore label_file path tmpfs")
NAME = re.compile(r"[a-zA-Z0-9._-]+\Z")
RESTRICTED = words("configs secrets services volumes")  # kinds whose entries have such names alone


def not_text(value: Text) -> bool:
    """A scalar that YAML reads as a number or a boolean, as the file has it."""
    if not value.plain or value.filled:
        return False
    return value in TRUE or value in FALSE or whole(value) is not None or FLOAT.match(value) is not None


class Reading:
    """Gathers what is wrong in the files of one run.

    With `existing` it is read for containers that exist: variables and env files that are missing are no problem.
    """

    def __init__(self, *, existing: bool = False) -> None:
        self.existing = existing
        self.lacking = False  # a variable that is in the tree, and must have a value, has none
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.obstacles: list[Obstacle] = []
        self.warned: set[str] = set()
        self.incomplete = False  # a file that belongs to the project is missing from the tree
        self.filled = 0  # characters that interpolation has made
        self.ports = 0  # that ranges have made

    def problem(self, message: str, at: Place | None, hint: str = "", code: str = "value") -> None:
        self.problems.append(Problem(message, at, hint, code))

    def obstacle(
        self, service: str, message: str, at: Place | None, hint: str = "", code: str = "value", beside: str = ""
    ) -> None:
        """What only the making of a service's containers fails by."""
        self.obstacles.append(Obstacle(service, Problem(message, at, hint, code), beside))

    def suggestion(self, name: str, known: Iterable[str]) -> str:
        """As the function, for the first problems: a person reads no more of them, and comparing takes long."""
        return suggestion(name, known) if len(self.problems) < 100 else ""

    def unusable(self, error: FileError) -> None:
        """A file could not be taken in: what it would have defined will be missed."""
        self.problems += error.problems
        self.incomplete = True

    def unset(self, name: str, at: Place | None) -> None:
        """A variable has no value where one is filled in."""
        if self.existing:
            self.lacking = True
            return
        message = f'The "{name}" variable is not set. Defaulting to a blank string.'
        self.warn_once(f"${name}", message, at, "unset-variable")

    def warn_once(self, key: str, message: str, at: Place | None, code: str = "not-acted-on") -> None:
        if key not in self.warned:
            self.warned.add(key)
            self.warnings.append(Problem(message, at, code=code))

    def lax(self, message: str, at: Place | None) -> None:
        """Something that is understood here, and that docker compose refuses."""
        self.warn_once(message, f"{message}; docker compose refuses it", at, "lax")


class Section:
    """One mapping of a file, read attribute by attribute. `name` is how messages call it: service "web".

    `within` is the section that it is a part of, and the key there, with its item where that is a list: from these
    comes its path as docker compose's schema names it, services.web.ports.0.
    """

    def __init__(
        self,
        reading: Reading,
        value: Tree,
        name: str,
        at: Place | None = None,
        within: tuple[Section, str] | tuple[Section, str, Tree] | None = None,
    ) -> None:
        self.reading = reading
        self.name = name
        self._within = within
        self.malformed = value is not None and not isinstance(value, Map)
        if value is not None and not isinstance(value, Map):
            hint = "lines of NAME: value below it, indented"
            reading.problem(f"{self.path() or name} must be a mapping", value.at, hint, "type")
        self.map = value if isinstance(value, Map) else Map(at)
        self.origin = self.map.at or at

    def __contains__(self, key: str) -> bool:
        return key in self.map

    def path(self, key: str = "") -> str | None:
        """Of an attribute, or of the section itself, as docker compose's schema names it; None of what it has not."""
        if self._within is None:
            return key if self.name == WHOLE_FILE else None
        parent, *steps = self._within
        path = parent.path(str(steps[0]))
        if path is None:
            return None
        if len(steps) == 2:
            siblings = parent.map.get(str(steps[0]))
            path += next((f".{i}" for i, one in enumerate(siblings or ()) if one is steps[1]), "")
        return f"{path}.{key}" if key else path

    def at(self, key: str) -> Place | None:
        """Where the value is; of a block below its key, the key."""
        value, named = self.map.get(key), self.map.keys_at.get(key)
        inline = value is not None and value.at is not None and (named is None or value.at.line == named.line)
        return (value.at if value is not None and (inline or isinstance(value, Text)) else None) or named or self.origin

    def wrong(self, key: str, wanted: str) -> None:
        value = self.map.get(key)
        shown = f', not "{short(value)}"' if isinstance(value, Text) else ""
        form = next((form for start, form in FORMS.items() if wanted.startswith(start)), "")
        hint = f"such as {key}: {form}" if form else ""
        message = f'"{key}" of {self.name} must be {wanted}{shown}'
        if path := self.path(key):
            kind = next(
                (kind for start, kind in CASTS.items() if wanted == start or wanted.startswith(f"{start} such")), ""
            )
            if said := SCHEMA.get(wanted):
                message = f"{path} must be a {said}"
            elif kind and isinstance(value, Text):
                message = f"{path}: {kind.format(short(value))}"
        self.reading.problem(message, self.at(key), hint, "type")

    def check_keys(self, acted: Iterable[str], kept: Iterable[str] = ()) -> dict[str, str]:
        """Unknown keys are problems; the canonical JSON of those that are known and not acted on is returned."""
        result = {}
        acted, kept = set(acted), set(kept)
        for key, value in self.map.items():
            if value is None and not key.startswith("x-"):
                self._null(key)
            if key in acted:
                continue
            if key.startswith("x-"):
                result[key] = canonical_json(plain_value(self.map[key]))
            elif key in kept:
                message = f'"{key}" of {self.name} is not acted on yet'
                self.reading.warn_once(key, message, self.map.keys_at.get(key))
                result[key] = canonical_json(plain_value(self.map[key]))
            else:
                at = self.map.keys_at.get(key) or self.origin
                hint = self.reading.suggestion(key, acted | kept) or one_of(acted | kept)
                path = self.path()
                message = f'{self.name} has no attribute "{short(key)}"'
                if path is not None:
                    message = f"{path} additional properties '{short(key)}' not allowed".lstrip()
                self.reading.problem(message, at, hint, "unknown-key")
        return result

    def _null(self, key: str) -> None:
        """A key with nothing behind it: an error where a list or a mapping belongs, else as if it were not there."""
        at = self.map.keys_at.get(key) or self.origin
        if key in GROUPS:
            kind, empty = ("array", "[]") if key in LISTS else ("mapping", "{}")
            hint = f"it has nothing in it: take it away, or write {key}: {empty}"
            self.reading.problem(f"{self.path(key) or key} must be a {kind}", at, hint, "null")
        elif key not in NULLABLE:
            self.reading.lax(f'"{key}" of {self.name} has no value', at)

    def check_no_extensions(self, keys: Iterable[str]) -> None:
        """As `check_keys`, where x- keys are not foreseen."""
        for key in self.check_keys(keys):
            self.reading.lax(f'{self.name} has "{key}"', self.at(key))

    def text(self, key: str) -> str | None:
        value = self.map.get(key)
        if value is None:
            return None
        if not isinstance(value, Text):
            self.wrong(key, "text")
            return None
        self.only_text(key, value)
        return str(value)

    def only_text(self, key: str, value: Tree) -> None:
        """A warning at what YAML reads as a number or a boolean, in a list of them too, where text belongs."""

        def odd(one: Text) -> bool:
            if not not_text(one):
                return False
            is_switch = one in TRUE or one in FALSE
            return key not in SWITCHES_TOO if is_switch else key not in NUMBERS_TOO or whole(one) is None

        if isinstance(value, Text) and odd(value):
            self.reading.lax(f'"{key}" of {self.name} is not text: {short(value)} without quotes', value.at)
        for item in value if isinstance(value, Seq) else ():
            if isinstance(item, Text) and odd(item):
                self.reading.lax(f'{short(item)} in "{key}" of {self.name} is not text, without quotes', item.at)

    def check_once(self, key: str) -> None:
        """A warning at an entry of a list that is there already; a number and its text are two."""
        value = self.map.get(key)
        if not isinstance(value, Seq) or len(value) < 2:
            return
        items = [item for item in value if isinstance(item, Text)]
        if len(set(items)) == len(items):
            return
        before: set[tuple[str, bool]] = set()
        for item in items:
            entry = str(item), not_text(item)
            if entry in before:
                self.reading.lax(f'"{key}" of {self.name} has "{short(item)}" twice', item.at)
            before.add(entry)

    def flag(self, key: str, default: bool = False, *, quoted: bool = True) -> bool:
        """True or false; unless `quoted`, a warning at what is so in quotes, or by a variable."""
        value = self.map.get(key)
        if value is None:
            return default
        if isinstance(value, Text):
            if not quoted and (value not in TRUE | FALSE or not value.plain or value.filled):
                self.reading.lax(f'"{key}" of {self.name} is text, not true or false', value.at)
            lowered = value.strip().lower()
            if lowered in ("true", "false"):
                return lowered == "true"
            if lowered in REFUSED:
                kind = "a number" if not_text(value) else "text"
                self.reading.lax(f'"{key}" of {self.name} is {kind}, not true or false', value.at)
                return lowered in YES
            if lowered in YES or lowered in NO:
                meant = "true" if lowered in YES else "false"
                message = f'"{key}" of {self.name} is "{value}", which YAML 1.2 takes for text; it is read as {meant}'
                self.reading.warn_once(f"{self.name}.{key}", message, self.at(key), "boolean")
                return lowered in YES
        self.wrong(key, "true or false")
        return default

    def integer(self, key: str) -> int | None:
        value = self.map.get(key)
        if value is None:
            return None
        if isinstance(value, Text):
            stripped = value.strip()
            number = whole(stripped) if value.plain else None
            if number is None and DIGITS.match(stripped):
                number = int(stripped)
                if key in NUMBERS_ALONE:
                    self.reading.lax(f'"{key}" of {self.name} is text, not a number', value.at)
            if number is not None and abs(number) < 1 << 63:
                return number
        self.wrong(key, "a whole number")
        return None

    def between(self, key: str, lowest: int, highest: int) -> int | None:
        number = self.integer(key)
        if number is not None and not lowest <= number <= highest:
            self.wrong(key, f"a whole number from {lowest} to {highest}")
            return None
        return number

    def natural(self, key: str) -> int | None:
        """A whole number of 0 or more."""
        number = self.integer(key)
        if number is not None and number < 0:
            self.wrong(key, "a whole number of 0 or more")
            return None
        return number

    def octal(self, key: str) -> int | None:
        """A mode. Plain `0440` and quoted "0440" are octal; so is 0o440; a plain 288 is decimal."""
        value = self.map.get(key)
        if value is None:
            return None
        if isinstance(value, Text) and (match := OCTAL.match(value)) and (value[0] == "0" or not value.plain):
            if not value.plain and value.startswith("0o"):
                self.reading.lax(f'"{key}" of {self.name} is text with 0o: {value}', value.at)
            return int(match[1], 8)
        if isinstance(value, Text) and value.plain and (number := whole(value)) is not None and 0 <= number <= 0o7777:
            return number
        self.wrong(key, "an octal mode such as 0440")
        return None

    def number(self, key: str) -> float | None:
        value = self.map.get(key)
        if value is None:
            return None
        if isinstance(value, Text) and FLOAT.match(value.strip()) and math.isfinite(float(value)):
            return float(value)
        self.wrong(key, "a number")
        return None

    def size(self, key: str, *, fractions: bool = True) -> int | None:
        """Bytes; unless there may be `fractions`, a warning at a number that has one."""
        value = self.map.get(key)
        if value is None:
            return None
        size = size_of(value) if isinstance(value, Text) else None
        if size is None:
            self.wrong(key, 'a size such as "1500m"')
        elif isinstance(value, Text) and not_text(value):
            if key == "memory":
                self.only_text(key, value)
            elif (key in WHOLE_SIZES or not fractions) and whole(value) is None and not float(value).is_integer():
                self.reading.lax(f'"{key}" of {self.name} is no whole number: {short(value)}', value.at)
        elif size < 0:
            self.reading.lax(f'"{key}" of {self.name} is text, not a number: {value}', position(value))
        return size

    def duration(self, key: str) -> float | None:
        value = self.map.get(key)
        if value is None:
            return None
        seconds = duration_of(value) if isinstance(value, Text) else None
        if seconds is None:
            self.wrong(key, 'a duration such as "1m30s"')
        elif isinstance(value, Text) and (not_text(value) or (seconds and FLOAT.match(value))):
            self.reading.lax(f'"{key}" of {self.name} has no unit: {short(value)} seconds', value.at)
        return seconds

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.map.get(key)
        if value is None:
            return ()
        if isinstance(value, Text):
            if key in ONE_OR_MORE:
                self.only_text(key, value)
            else:
                self.reading.lax(f'"{key}" of {self.name} is not a list', value.at)
            return (str(value),)
        if isinstance(value, Seq) and all(isinstance(item, Text) for item in value):
            self.only_text(key, value)
            texts = tuple(dict.fromkeys(str(item) for item in value))
            if len(texts) < len(value) and key not in REPEATED:
                self.check_once(key)
            return texts
        self.wrong(key, "a list of text")
        return ()

    def command(self, key: str) -> tuple[str, ...] | None:
        """Text is split as a shell would; null inherits; an empty list or text clears."""
        value = self.map.get(key)
        if value is None:
            return None
        self.only_text(key, value)
        if isinstance(value, Text):
            if len(value) > COMMAND:
                self.reading.problem(
                    f'"{key}" of {self.name} is too long for a command', value.at, "put it into a file", "command"
                )
                return None
            try:
                return tuple(shlex.split(value))
            except ValueError as error:
                self.reading.problem(f'"{key}" of {self.name}: {error}', value.at, "quotes must be closed", "command")
                return None
        if isinstance(value, Seq) and all(isinstance(item, Text) for item in value):
            return tuple(str(item) for item in value)
        self.wrong(key, "text or a list of text")
        return None

    def optional_pairs(self, key: str, like: str = "") -> dict[str, str | None]:
        """Names with their values; of what docker compose refuses, those of the attribute `like` are as another's."""
        if key == "environment":
            self._trailing_spaces(key)
        written = self.map.get(key)
        self._only_pairs(key, like or key, written)
        value = pairs(written)
        if value is None:
            return {}
        if not isinstance(value, Map):
            self.wrong(key, "a mapping or a list of NAME=value")
            return {}
        if "" in value and isinstance(written, Map):
            message = f'a name in "{key}" of {self.name} is empty'
            self.reading.problem(message, value.keys_at.get(""), "such as NAME: value", "name")
        result: dict[str, str | None] = {}
        for name, item in value.items():
            if item is None or isinstance(item, Text):
                result[name] = None if item is None else spelled(item)
            else:
                message = f"{self.path(key) or key}.{name} must be a boolean, null, number or string"
                self.reading.problem(message, item.at, f"such as {name}: value", "type")
        return result

    def _only_pairs(self, key: str, kind: str, value: Tree) -> None:
        """Warnings at what docker compose's schema refuses of pairs."""
        if isinstance(value, Seq):
            self.only_text(key, value)
            self.check_once(key)
            if kind in MAPPINGS:
                self.reading.lax(f'"{key}" of {self.name} is a list, not a mapping', value.at)
        elif isinstance(value, Map) and kind in MAPPINGS:
            for name, item in value.items():
                if item is None and kind not in ("options", "storage_opt"):
                    self.reading.lax(f'"{name}" in "{key}" of {self.name} has no value', value.keys_at.get(name))
                if not isinstance(item, Text) or not not_text(item):
                    continue
                fraction = kind == "storage_opt" and whole(item) is None
                if kind == "aux_addresses" or fraction or item in TRUE | FALSE:
                    self.reading.lax(f'"{name}" in "{key}" of {self.name} is not text: {item}', item.at)

    def _trailing_spaces(self, key: str) -> None:
        """`DEBUG = true` in a list would be a variable whose name ends with a space."""
        value = self.map.get(key)
        for item in value if isinstance(value, Seq) else ():
            name, equals, rest = str(item).partition("=") if isinstance(item, Text) else ("", "", "")
            if equals and name != name.rstrip():
                message = f'the variable "{short(name)}" in "{key}" of {self.name} ends with a space'
                self.reading.problem(message, position(item), f"write {short(name.rstrip())}={short(rest.lstrip())}")

    def pairs(self, key: str, like: str = "") -> dict[str, str]:
        return {name: value or "" for name, value in self.optional_pairs(key, like).items()}

    def valued_pairs(self, key: str) -> dict[str, str]:
        """Pairs none of which may be a name alone; a warning at values that are not text."""
        values = self.optional_pairs(key)
        written = pairs(self.map.get(key))
        if not isinstance(written, Map):
            return {}
        for name, item in written.items():
            if item is None:
                message = f'"{short(name)}" in "{key}" of {self.name} has no value'
                self.reading.problem(message, written.keys_at.get(name), f"such as {short(name)}=VALUE", "value")
            elif isinstance(item, Text) and not_text(item):
                self.reading.lax(f'"{short(name)}" in "{key}" of {self.name} is not text: {short(item)}', item.at)
        return {name: value or "" for name, value in values.items()}

    def section(self, key: str) -> Section:
        name = f'"{key}" of {self.name}'
        return Section(self.reading, self.map.get(key), name, self.map.keys_at.get(key), (self, key))

    def entry(self, key: str, item: Tree, name: str) -> Section:
        """An item of the list `key`."""
        return Section(self.reading, item, name, self.at(key), (self, key, item))

    def sections(self, key: str) -> list[tuple[str, Section]]:
        """The entries of a mapping of mappings."""
        parent = self.section(key)
        if key in RESTRICTED:
            self.check_names(key)
        entries = []
        for name, value in parent.map.items():
            what, at = f'{key.removesuffix("s")} "{name}"', parent.map.keys_at.get(name)
            entries.append((name, one := Section(self.reading, value, what, at, (parent, name))))
            if value is None and key == "services":
                one.malformed = True
                self.reading.problem(f"{one.path()} must be a mapping", at, "it has nothing in it: image: …", "type")
        return entries

    def check_names(self, key: str) -> None:
        """Problems at keys of the mapping `key` (such as networks) that cannot be the names of such things."""
        value = self.map.get(key)
        if not isinstance(value, Map):
            return
        for name in value:
            if not NAME.match(name):
                message = f"{self.path(key) or key} additional properties '{short(name)}' not allowed"
                hint = f"the name of a {key.removesuffix('s')} has letters, digits, . _ -"
                self.reading.problem(message, value.keys_at.get(name) or self.at(key), hint, "name")

    def items(self, key: str) -> list[Tree]:
        value = self.map.get(key)
        if value is None:
            return []
        if isinstance(value, Seq):
            if None in value:
                message = f'an entry of "{key}" of {self.name} has nothing in it'
                self.reading.problem(message, value.at or self.at(key), "take its - away, or say what it is", "null")
            return [item for item in value if item is not None]
        if isinstance(value, Text):
            if key not in ONE_OR_MORE:
                self.reading.lax(f'"{key}" of {self.name} is not a list', value.at)
            return [value]
        self.wrong(key, "a list")
        return []

    def choice(self, key: str, allowed: tuple[str, ...]) -> str | None:
        value = self.text(key)
        if value == "" and key in MAY_BE_EMPTY:
            return None
        if value is not None and value not in allowed:
            path, listed = self.path(key), ", ".join(f"'{one}'" for one in allowed)
            message = f"{path} value must be one of {listed}" if path else f'"{key}" of {self.name} cannot be "{value}"'
            self.reading.problem(message, self.at(key), f"one of: {', '.join(allowed)}", "choice")
            return None
        return value


def extended(kept: Mapping[str, str]) -> str:
    """What `check_keys` kept of a mapping, as one JSON object; empty if there is nothing."""
    return "{" + ",".join(f"{canonical_json(key)}:{text}" for key, text in sorted(kept.items())) + "}" if kept else ""


def one_of(names: Iterable[str]) -> str:
    """A hint that lists the names there are, the first of them where they are many."""
    listed = sorted(names)
    more = f" and {len(listed) - 12} more" if len(listed) > 12 else ""
    return f"there are: {', '.join(listed[:12])}{more}" if listed else ""


def short(value: str) -> str:
    return value if len(value) <= 60 else value[:59] + "…"


def canonical_json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
