"""Templates of --format, as docker's users write them."""

from __future__ import annotations

from typing import Any

import pytest
from pycompose.compose.cli.output.templates import TemplateError, printed

ROW = {
    "Name": "p-web-1",
    "Health": "",
    "ExitCode": 3,
    "Labels": "a=1,b=2",
    "Publishers": [{"PublishedPort": 80, "Protocol": "tcp"}, {"PublishedPort": 81, "Protocol": "udp"}],
}


def of(form: str, *rows: dict[str, Any]) -> str:
    return printed(form, rows or (ROW,), {"Name": "NAME"})


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("{{.Name}}", "p-web-1"),
        ("{{ .Name }}: {{.ExitCode}}", "p-web-1: 3"),
        ("{{.Name -}}   x", "p-web-1x"),
        ("x   {{- .Name}}", "xp-web-1"),
        ("a{{/* a remark */}}b", "ab"),
        ("{{json .Name}}", '"p-web-1"'),
        ("{{.Name | upper | json}}", '"P-WEB-1"'),
        ("{{if .Health}}{{.Health}}{{else}}none{{end}}", "none"),
        ("{{if eq .ExitCode 3}}three{{end}}", "three"),
        ('{{if and (ne .Name "x") (not .Health)}}yes{{end}}', "yes"),
        ("{{range .Publishers}}{{.PublishedPort}}/{{.Protocol}} {{end}}", "80/tcp 81/udp "),
        ("{{len .Publishers}}", "2"),
        ('{{join (split .Labels ",") " "}}', "a=1 b=2"),
        ("{{(index .Publishers 1).Protocol}}", "udp"),
        ('{{printf "%s=%d" .Name .ExitCode}}', "p-web-1=3"),
        ("{{truncate .Name 5}}|{{pad .Name 1 2}}|", "p-web| p-web-1  |"),
        (r"{{.Name}}\t{{.ExitCode}}", "p-web-1\t3"),
    ],
)
def test_a_row_as_the_template_has_it(form: str, line: str) -> None:
    assert of(form) == f"{line}\n"


def test_a_table_has_a_head_and_columns() -> None:
    other = ROW | {"Name": "p-a-1", "ExitCode": 0}
    assert of(r"table {{.Name}}\t{{.ExitCode}}", ROW, other) == ("NAME      EXITCODE\np-web-1   3\np-a-1     0\n")
    assert printed("table {{.Name}}", (), {"Name": "NAME"}) == "NAME\n"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("{{.Nme}}", 'no field "Nme"'),
        ("{{.Name", "is not closed"),
        ("{{if .Name}}x", 'has no "end"'),
        ("{{end}}", "without"),
        ("{{shout .Name}}", '"shout" is not known'),
        ("{{upper .ExitCode}}", '"upper"'),
        ("{{.Name.First}}", 'no field "First"'),
        ("{{(index .Publishers 1}}", "is not closed"),
    ],
)
def test_what_cannot_be_used_is_an_error(form: str, said: str) -> None:
    with pytest.raises(TemplateError, match=said):
        of(form)
