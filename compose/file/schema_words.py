"""Words of docker compose's schema for a value of another kind, by what `reading` wants there. Data alone."""

from __future__ import annotations

SCHEMA = {  # what is wanted -> what its schema calls that
    "text": "string",
    "a mapping": "mapping",
    "a mapping or a list of NAME=value": "mapping",
    "a list": "array",
    "a list of text": "array",
}
CAST = "failed to cast to expected type: "
CASTS = {  # the beginning of what is wanted -> what is said of a text that is none
    "true or false": f"{CAST}invalid boolean: {{}}",
    "a whole number": f'{CAST}strconv.Atoi: parsing "{{}}": invalid syntax',
    "a number": f'{CAST}strconv.ParseFloat: parsing "{{}}": invalid syntax',
    "a size": "invalid size: '{}'",
    "a duration": 'time: invalid duration "{}"',
    "letters, digits, and _ . - after the first, two at least": "'{}' does not match pattern "
    "'[a-zA-Z0-9][a-zA-Z0-9_.-]+'",
    "always, never, missing, build, daily, weekly, or every_<n>[wdhms]": "'{}' does not match pattern "
    "'always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+'",
}
