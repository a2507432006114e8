"""Bodies as values: nothing at all is as good as {} where every field may be left out."""

import msgspec
import pytest

from hythe.hub.routes.description import describe
from hythe.hub.routes.endpoint import Endpoint
from hythe.hub.routes.parsing import parse_body
from hythe.hub.routes.problem_details import BadRequest


class Optional(msgspec.Struct, frozen=True):
    """Nothing that must be there."""

    name: str = "all"


class Needed(msgspec.Struct, frozen=True):
    """Something that must."""

    name: str
    more: str = ""


def test_no_body() -> None:
    """It is the object without fields, and no JSON where one of them is needed."""
    assert parse_body(b"", Optional) == parse_body(b"{}", Optional) == Optional()
    for body in (b" ", b"null"):
        with pytest.raises(BadRequest):
            parse_body(body, Optional)
    with pytest.raises(BadRequest):
        parse_body(b"", Needed)


@pytest.mark.parametrize(("body", "required"), [(Optional, False), (Needed, True)])
def test_the_description_says_so(body: type[msgspec.Struct], required: bool) -> None:
    """Clients made of it know which bodies they may leave out."""

    async def answer(*_: object) -> None:
        """Nothing."""

    described = describe([Endpoint("POST", "/x", "Do it", answer, body=body)])

    assert described["paths"]["/x"]["post"]["requestBody"]["required"] is required
