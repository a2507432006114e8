"""Invitations by link in the JSON API."""

import re

from tests.unit.hub.routes.people import People


def test_an_invitation_by_link_is_declined(as_: People) -> None:
    """Whoever has the link declines it once; it is then neither accepted nor listed."""
    ann, ben = as_("ann"), as_("ben")
    assert ann.post("/api/v1/organizations", json={"name": "declined"}).status_code == 201
    invited = ann.post("/api/v1/organizations/declined/invitations", json={"email": "someone@example.com"})
    assert invited.status_code == 201
    (letter, *_) = as_("curator").get("/api/v1/admin/mail").json()["items"]
    found = re.search(r"token=(\S+)", letter["text"])
    assert found is not None
    link = {"token": found[1]}

    assert as_("").post("/api/v1/invitations/link/decline", json=link).status_code == 401
    assert ben.post("/api/v1/invitations/link/decline", json={"token": "x" * 43}).status_code == 404
    assert ben.post("/api/v1/invitations/link/decline", json=link).status_code == 204

    assert ben.post("/api/v1/invitations/link/decline", json=link).status_code == 404
    assert ben.post("/api/v1/invitations/link", json=link).status_code == 404
    assert ann.get("/api/v1/organizations/declined/invitations").json()["items"] == []
    assert ann.get("/api/v1/organizations/declined/members").json()["total"] == 1
