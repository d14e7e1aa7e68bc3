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
    "Label": lambda name: {"a": "1"}.get(name, ""),
    "None": [],
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
        ('{{"}}"}}', "}}"),
        ("{{with .Name}}<{{.}}>{{end}}", "<p-web-1>"),
        ("{{with .Health}}x{{else}}none{{end}}", "none"),
        ("{{with .Health}}x{{else with .Name}}{{.}}{{end}}", "p-web-1"),
        ("{{if .Health}}a{{else if .Name}}b{{else}}c{{end}}", "b"),
        ("{{$n := .Name}}{{range .Publishers}}{{$n}}:{{.PublishedPort}} {{end}}", "p-web-1:80 p-web-1:81 "),
        ("{{range $i, $p := .Publishers}}{{$i}}={{$p.PublishedPort}} {{end}}", "0=80 1=81 "),
        ("{{range $p := .Publishers}}{{$p.Protocol}}{{$.ExitCode}}{{end}}", "tcp3udp3"),
        ("{{range .Publishers}}{{if eq .Protocol `udp`}}{{break}}{{end}}{{.Protocol}}{{end}}", "tcp"),
        ("{{range .Publishers}}{{if eq .Protocol `tcp`}}{{continue}}{{end}}{{.Protocol}}{{end}}", "udp"),
        ("{{range .None}}x{{else}}empty{{end}}", "empty"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{$x := 1}}{{range .Publishers}}{{$x = .PublishedPort}}{{end}}{{$x}}", "81"),
        ('{{.Label "a"}}{{.Label "zz"}}', "1"),
        ('{{if eq (.Label "a") "1"}}one{{end}}', "one"),
        ("{{lt .ExitCode 4}} {{ge .ExitCode 4}} {{gt 2 1}} {{le 3 3}}", "true false true true"),
        ("{{and .Health (index .Publishers 9)}}{{or .Name (index .Publishers 9)}}", "p-web-1"),
        (
            '{{printf "%-8s|%5d|%q|%v|%t|%x%%" .Name .ExitCode .Name .None true 255}}',
            'p-web-1 |    3|"p-web-1"|[]|true|ff%',
        ),
        ('{{printf "%d %s" .Name}}', "%!d(string=p-web-1) %!s(MISSING)"),
        (
            '{{title "one twoThree"}} {{slice .Name 2 5}} {{html "<a>"}} {{urlquery "a b"}}',
            "One TwoThree web &lt;a&gt; a+b",
        ),
        ('{{range split .Labels ","}}[{{.}}]{{end}}', "[a=1][b=2]"),
        ("{{json .Publishers}}", '[{"PublishedPort":80,"Protocol":"tcp"},{"PublishedPort":81,"Protocol":"udp"}]'),
        ("{{not true}} {{nil}}{{1.50}} {{0x10}} {{'a'}}", "false <no value>1.5 16 97"),
        ("{{with $x := .Name}}{{$x}}{{end}}", "p-web-1"),
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
        ("{{.Nme}}", "field Nme"),
        ("{{.Name", "unclosed action"),
        ("{{if .Name}}x", 'has no "end"'),
        ("{{end}}", "without"),
        ("{{shout .Name}}", '"shout" is not known'),
        ("{{upper .ExitCode}}", '"upper"'),
        ("{{.Name.First}}", "field First"),
        ("{{(index .Publishers 1}}", "is not closed"),
        ("{{range .Publishers}}{{.Nme}}{{end}}", "field Nme; there are: Protocol, PublishedPort"),
        ("{{.Name 3}}", "takes no arguments"),
        ("{{$x}}", "not declared"),
        ("{{$x = 3}}", "not declared"),
        ("{{break}}", 'outside of "range"'),
        ('{{define "x"}}{{end}}', "is not there"),
        ("{{index .Publishers 2}}", "there is no item 2"),
        ('{{eq .ExitCode "3"}}', "cannot be compared"),
        ("{{.Name | }}", "a command is missing"),
        ("{{}}", "a command is missing"),
        ("{{.Name ? 3}}", "is not understood"),
        ("{{if .Name}}{{else foo}}{{end}}", '"else foo" in "if"'),
    ],
)
def test_what_cannot_be_used_is_an_error(form: str, said: str) -> None:
    with pytest.raises(TemplateError, match=said):
        of(form)


def test_a_field_that_no_row_has_is_an_error_without_rows_too() -> None:
    with pytest.raises(TemplateError, match="field Nme; there are: Name, Size"):
        printed("{{if .Name}}{{.Nme}}{{end}}", (), {}, ("Name", "Size"))
    with pytest.raises(TemplateError, match="field Nme"):
        printed('{{join (split .Nme ",") " "}}', (), {}, ("Name",))
    assert printed("{{range .Name}}{{.Deep}}{{end}}", (), {}, ("Name",)) == ""


def test_titles_are_not_changed_by_what_changes_values() -> None:
    form = r'table {{upper .Name}}\t{{.Label "org.x-y"}}\t{{json .ExitCode}}\t{{truncate .ID 3}}'
    row = ROW | {"ID": "abcdef"}
    assert printed(form, [row], {"Name": "Name", "ID": "The ID"}) == (
        "Name      x y   EXITCODE   The ID\nP-WEB-1         3          abc\n"
    )
