"""A valid body with every field, for each address of the JSON API that takes one: tests spoil one field at a time."""

from typing import Any

from tests.faults.bad_values import PASSWORD, RULE, SOURCE

from hythe.oci.digest import Digest

LIMITS = {"rights": ["repo:read"], "repositories": ["ann/app"]}
REASON = {"reason": "x"}
LINK = {"token": "x"}
LIFETIME = {"expires_in_days": 3}
OPTIONS = {"schedule": "daily 04:00", "network": "off"}
TRUST_RULE = {
    **LIMITS,
    "name": "job",
    "issuer": "https://ci.example.com",
    "subject": "repo:acme/app:*",
    "claims": {"environment": "production"},
    "lifetime_minutes": 15,
}
PASSKEY = {
    "id": "x",
    "rawId": "x",
    "type": "public-key",
    "response": {"clientDataJSON": "x", "attestationObject": "x"},
}
"""What a browser sends for a new passkey."""

ACCOUNT: dict[tuple[str, str], Any] = {
    ("POST", "/users"): {"username": "zoe", "email": "zoe@example.com", "password": PASSWORD},
    ("PATCH", "/users/me"): {"default_visibility": "public"},
    ("PUT", "/users/me/password"): {"current": "not mine", "password": PASSWORD},
    ("PUT", "/users/me/email"): {"email": "new@example.com", "current": "not mine"},
    ("POST", "/email-addresses/confirm"): LINK,
    ("POST", "/email-addresses/restore"): LINK,
    ("POST", "/password-resets"): {"account": "nemo"},
    ("POST", "/password-resets/complete"): {"token": "x", "password": PASSWORD},
    ("POST", "/sessions"): {"username": "nemo", "password": PASSWORD, "otp": "123456"},
    ("PUT", "/users/me/second-factors/app"): {"state": "x", "code": "123456"},
    ("POST", "/users/me/second-factors/passkeys"): {"name": "key", "credential": PASSKEY},
    ("PATCH", "/users/me/second-factors/passkeys/{id}"): {"name": "key"},
    ("POST", "/users/me/confirmation"): {"password": "", "otp": "123456", "credential": PASSKEY},
    ("POST", "/users/me/conversion"): {"owner": "nemo", "confirm": "ann"},
    ("POST", "/tokens"): {"name": "t", **LIMITS, **LIFETIME},
    ("PATCH", "/tokens/{id}"): {"name": "t", **LIMITS},
    ("POST", "/tokens/{id}/rotate"): {"overlap_hours": 1, **LIFETIME},
    ("POST", "/tokens/leaked"): {"tokens": [{"token": "hythe_p0", "url": "https://example.com/x"}]},
    ("POST", "/namespaces/{namespace}/robots"): {"name": "r", **LIMITS, **LIFETIME},
    ("PATCH", "/namespaces/{namespace}/robots/{robot}"): {"name": "ci", **LIMITS},
    ("POST", "/namespaces/{namespace}/robots/{robot}/rotate"): {"overlap_hours": 1, **LIFETIME},
    ("POST", "/namespaces/{namespace}/trust-rules"): TRUST_RULE,
    ("PATCH", "/namespaces/{namespace}/trust-rules/{rule}"): TRUST_RULE,
    ("POST", "/oidc/token"): {
        "username": "ann",
        "subject_token": "x.y.z",
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    },
}

ORGANIZATIONS: dict[tuple[str, str], Any] = {
    ("POST", "/organizations"): {"name": "acme-2"},
    ("PATCH", "/organizations/{organization}"): {
        "default_visibility": "public",
        "member_role": "read",
        "members_create": True,
        "require_second_factor": False,
    },
    ("PATCH", "/organizations/{organization}/members/{username}"): {"role": "member"},
    ("POST", "/organizations/{organization}/teams"): {"name": "crew-2", "description": "d"},
    ("PATCH", "/organizations/{organization}/teams/{team}"): {"name": "crew", "description": "d"},
    ("PUT", "/organizations/{organization}/teams/{team}/grants"): {"repositories": "app-*", "role": "read"},
    ("POST", "/organizations/{organization}/invitations"): {
        "username": "zed",
        "email": "",
        "role": "member",
        "team": "crew",
    },
    ("POST", "/invitations/link"): LINK,
    ("POST", "/invitations/link/decline"): LINK,
    ("POST", "/namespaces/{namespace}/rename"): {"name": "acme-3"},
}

REPOSITORIES: dict[tuple[str, str], Any] = {
    ("POST", "/repositories"): {
        "namespace": "ann",
        "name": "n",
        "visibility": "private",
        "description": "d",
        "full_description": "f",
    },
    ("PATCH", "/repositories/{namespace}/{name}"): {
        "visibility": "public",
        "description": "d",
        "full_description": "f",
    },
    ("POST", "/repositories/{namespace}/{name}/tags/{tag}/restore"): {"digest": str(Digest.of(b"none"))},
    ("PUT", "/repositories/{namespace}/{name}/immutable-tags"): {"patterns": ["v*"]},
    ("POST", "/repositories/{namespace}/{name}/collaborators"): {"username": "zed", "role": "read"},
    ("PATCH", "/repositories/{namespace}/{name}/collaborators/{username}"): {"role": "read"},
    ("POST", "/repositories/{namespace}/{name}/rename"): {"name": "app"},
    ("POST", "/repositories/{namespace}/{name}/transfer"): {"to": "nemo", "name": "app"},
    ("POST", "/repositories/{namespace}/{name}/reports"): {"category": "spam", "text": "x"},
    ("POST", "/repositories/{namespace}/{name}/webhooks"): {
        "url": "https://example.com/x",
        "secret": "s",
        "events": ["push"],
        "chained": False,
    },
}

BUILDS: dict[tuple[str, str], Any] = {
    ("POST", "/linked-accounts"): {"url": "https://forge.example.com", "token": "t"},
    ("POST", "/build-preview"): {"rules": [RULE], "refs": [{"type": "branch", "name": "main", "commit": "0" * 40}]},
    ("PUT", "/repositories/{namespace}/{name}/build-configuration/secrets/{secret}"): {"value": "v"},
    ("POST", "/repositories/{namespace}/{name}/build-configuration/docker-hub"): {
        "provider": "github",
        "owner": "team",
        "repository": "app",
        "autotests": "OFF",
        "repo_links": True,
        "envvars": [{"name": "COLOUR", "value": "blue"}],
        "build_settings": [{"source_type": "Branch", "source_name": "main", "tag": "latest"}],
        "linked_account_id": None,
        "visibility": None,
    },
    ("POST", "/repositories/{namespace}/{name}/build-configuration"): {
        "source": SOURCE,
        "rules": [RULE],
        "options": OPTIONS,
        "credentials": "user:secret",
        "secrets": {"S": "v"},
        "visibility": None,
    },
    ("PATCH", "/repositories/{namespace}/{name}/build-configuration"): {
        "source": {**SOURCE, "linked_account_id": None},
        "rules": [{**RULE, "id": 1, "timeout": 60}],
        "options": OPTIONS,
        "credentials": "user:secret",
        "active": True,
    },
    ("POST", "/repositories/{namespace}/{name}/builds"): {"source_type": "branch", "source_name": "b", "commit": ""},
    ("POST", "/repositories/{namespace}/{name}/build-configuration/forge-webhook"): {
        "hub_url": "https://hub.example.com"
    },
}

ADMINISTRATION: dict[tuple[str, str], Any] = {
    ("PATCH", "/users/{username}"): {
        "storage_limit": None,
        "repository_limit": 9,
        "private_limit": 3,
        "upload_limit": 9,
        "build_limit": 9,
    },
    ("PUT", "/users/{username}/email"): {"email": "zed@example.com"},
    ("POST", "/users/{username}/block"): REASON,
    ("PATCH", "/admin/accounts/{username}/roles"): {"administrator": False, "curator": False},
    ("PATCH", "/admin/workers/{worker}"): {"draining": True},
    ("POST", "/admin/repositories/{namespace}/{name}/access"): REASON,
    ("POST", "/admin/repositories/{namespace}/{name}/take-down"): REASON,
    ("POST", "/admin/repositories/{namespace}/{name}/delete"): REASON,
    ("POST", "/admin/repositories/{namespace}/{name}/hand-over"): {"to": "nemo", "name": "app"},
    ("PUT", "/admin/repositories/{namespace}/{name}/official"): {"official": True},
    ("POST", "/admin/reports/{report}/close"): {"outcome": "dismissed", "note": "n", "take_down": ""},
    ("POST", "/admin/blocked-names"): {"pattern": "bad-*", "reason": "x"},
    ("PATCH", "/admin/replications/{rule}"): {
        "username": "ann",
        "password": "x",
        "repositories": ["ann/*"],
        "tags": ["v*"],
        "destination": "ann/{name}",
        "deletions": True,
        "override": False,
        "events": False,
        "interval": 3600,
        "concurrency": 2,
        "rate": 0,
        "enabled": True,
    },
    ("POST", "/admin/replications"): {
        "name": "other",
        "direction": "pull",
        "url": "http://127.0.0.1:9",
        "username": "ann",
        "password": "x",
        "repositories": ["ann/*"],
        "tags": ["v*"],
        "destination": "ann/{name}",
        "deletions": True,
        "override": False,
        "events": False,
        "interval": 3600,
        "concurrency": 1,
        "rate": 1000,
    },
    ("POST", "/admin/blocked-digests"): {"digest": str(Digest.of(b"bad")), "reason": "x"},
}

BODIES = ACCOUNT | ORGANIZATIONS | REPOSITORIES | BUILDS | ADMINISTRATION
"""By method and path below /api/v1."""
