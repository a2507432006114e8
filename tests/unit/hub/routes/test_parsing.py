"""Parsing of bodies: an empty body counts as {} if all fields are optional."""

import msgspec
import pytest

from hythe.builds.routes.configurations import BuildConfigurationBody
from hythe.hub.access.actions import HubAction
from hythe.hub.errors import Invalid
from hythe.hub.routes.description import describe
from hythe.hub.routes.endpoint import Endpoint
from hythe.hub.routes.parsing import parse_body
from hythe.hub.routes.problem_details import BadRequest


class Optional(msgspec.Struct, frozen=True):
    """A body without required fields."""

    name: str = "all"


class Needed(msgspec.Struct, frozen=True):
    """A body with a required field."""

    name: str
    more: str = ""


def test_no_body() -> None:
    """An empty body is the object without fields, and invalid JSON if a field is required."""
    assert parse_body(b"", Optional) == parse_body(b"{}", Optional) == Optional()
    for body in (b" ", b"null"):
        with pytest.raises(BadRequest):
            parse_body(body, Optional)
    with pytest.raises(BadRequest):
        parse_body(b"", Needed)


@pytest.mark.parametrize(("body", "required"), [(Optional, False), (Needed, True)])
def test_the_description_says_so(body: type[msgspec.Struct], required: bool) -> None:
    """The OpenAPI document says which bodies are optional."""

    async def answer(*_: object) -> None:
        """Do nothing."""

    described = describe([Endpoint("POST", "/x", "Do it", answer, body=body, action=HubAction.BROWSE)])

    assert described["paths"]["/x"]["post"]["requestBody"]["required"] is required


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b'{"nam": 1, "nmae": {"a": [[]]}}', {"nam": "is unknown: this request takes name", "nmae": "is unknown"}),
        (b'{"name": 5, "x\\u0000/~": 1}', {"name": "expected `str`", "x\N{REPLACEMENT CHARACTER}/~": "is unknown"}),
    ],
)
def test_unknown_fields(body: bytes, fields: dict[str, str]) -> None:
    """An error names every unknown field beside the other invalid fields; lenient requests ignore unknown ones."""
    with pytest.raises(Invalid) as error:
        parse_body(body, Optional)

    assert set(error.value.fields) == set(fields)
    for field, problem in fields.items():
        assert error.value.fields[field].startswith(problem)
    assert parse_body(b'{"x": 1}', Optional, lenient=True) == Optional()


def test_unknown_fields_within_others() -> None:
    """Unknown fields of objects and lists within a field are named with their place."""
    source = {"url": "https://example.org/a.git", "branch": "main"}
    rules = [{"source": "a", "tags": "a"}, {"source": "b", "tags": "b", "Tags": ["c"], "x": {"y": 1}}]
    body = {"source": source, "rules": rules, "options": {"mails": True}, "secrets": {"any": "thing"}}

    with pytest.raises(Invalid) as error:
        parse_body(msgspec.json.encode(body), BuildConfigurationBody)

    assert error.value.fields["source"] == "contains the unknown field branch"
    assert error.value.fields["options"] == "contains the unknown field mails"
    assert error.value.fields["rules"] == "contains the unknown fields [1].Tags, [1].x"
    assert "secrets" not in error.value.fields


def test_many_unknown_fields() -> None:
    """Only the first of very many are named."""
    with pytest.raises(Invalid) as error:
        parse_body(msgspec.json.encode({f"{number:0<150}": 1 for number in range(1500)}), Optional)

    assert len(error.value.fields) == 20
    assert all(len(field) == 100 for field in error.value.fields)
