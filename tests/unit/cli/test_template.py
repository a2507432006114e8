"""Go templates in --format print the same as in docker."""

from __future__ import annotations

from typing import Any

import pytest

from hythe.cli.template import InvalidTemplate, Template

IMAGE: dict[str, Any] = {
    "Id": "sha256:abc",
    "RepoTags": ["a:1", "b:2"],
    "Config": {
        "Env": ["PATH=/bin"],
        "Labels": {"b": "2", "a": "1"},
        "Cmd": None,
        "Tty": False,
        "ExposedPorts": {"80/tcp": {}},
    },
    "Size": 42,
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{.Id}}", "sha256:abc"),
        ("{{ .Id }}!", "sha256:abc!"),
        ("{{.RepoTags}}", "[a:1 b:2]"),
        ("{{.Config.Labels}}", "map[a:1 b:2]"),
        ("{{.Config.Tty}} {{.Size}}", "false 42"),
        ("{{.Config.Cmd}} {{json .Config.Cmd}}", "[] null"),
        ("{{.Config.Nothing}}", "<no value>"),
        ("{{.Config.ExposedPorts}}", "map[80/tcp:{}]"),
        ('{{html "<a>"}} {{urlquery "a b"}}', "&lt;a&gt; a+b"),
        ("{{json .Config.Env}}", '["PATH=/bin"]'),
        ("{{.Config.Env | json}}", '["PATH=/bin"]'),
        ('{{join .RepoTags ", "}}', "a:1, b:2"),
        ('{{index .Config.Labels "a"}}{{index .RepoTags 1}}', "1b:2"),
        ("{{range .RepoTags}}<{{.}}>{{end}}", "<a:1><b:2>"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;"),
        ("{{range $i, $e := .RepoTags}}{{if $i}},{{end}}{{$e}}{{end}}", "a:1,b:2"),
        ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
        ("{{if .Config.Tty}}tty{{else if .Size}}size{{else}}no{{end}}", "size"),
        ("{{with .Config}}{{.Env}}{{end}}", "[PATH=/bin]"),
        ("{{if eq .Size 42}}yes{{end}}{{if and .Size (not .Config.Tty)}}!{{end}}", "yes!"),
        ('{{printf "%s-%d" .Id .Size}}', "sha256:abc-42"),
        ("{{len .RepoTags}} {{upper .Id}}", "2 SHA256:ABC"),
        ("{{$x := .Size}}{{$x}}", "42"),
        ("a {{- .Size -}} b", "a42b"),
        (r"{{.Id}}\t{{.Size}}", "sha256:abc\t42"),
        ("{{/* a comment */}}x", "x"),
        ('{{println "x"}}', "x\n"),
        ("{{slice .Id 7}}", "abc"),
        ("{{$.Size}}", "42"),
    ],
)
def test_a_template_prints_the_same_as_in_go(source: str, text: str) -> None:
    """Functions of text/template and of docker."""
    assert Template(source).render(IMAGE) == text


@pytest.mark.parametrize(
    "source",
    [
        "{{.Id",
        "{{if .Id}}",
        "{{end}}",
        "{{nofunction .Id}}",
        "{{.Id.More}}",
        "{{.Nothing}}",
        "{{if .Nothing}}{{end}}",
        "{{%}}",
        "{{$x}}",
        "{{(.Id}}",
        "{{json}}",
    ],
)
def test_an_invalid_template_is_an_error_with_a_hint(source: str) -> None:
    """An invalid template exits with 2 and a hint about the syntax, without a stack trace."""
    with pytest.raises(InvalidTemplate) as caught:
        Template(source).render(IMAGE)

    assert caught.value.code == 2
    assert caught.value.hint
