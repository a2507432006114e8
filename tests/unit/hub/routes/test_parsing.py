"""Parsing of bodies: an empty body counts as {} if all fields are optional."""

import msgspec
import pytest

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

    described = describe([Endpoint("POST", "/x", "Do it", answer, body=body)])

    assert described["paths"]["/x"]["post"]["requestBody"]["required"] is required
