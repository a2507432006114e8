"""Checks before a server starts: what ``settings/validators.py`` cannot decide from the text of a setting alone."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hythe.forges.configured import parse_forges
from hythe.identity_providers.configured import check_identity_providers
from hythe.identity_providers.ldap.directory import check_ldap
from hythe.registry.mirror.upstreams import Upstreams
from hythe.server.certificate import Certificate
from hythe.settings import Settings
from hythe.settings.folders import FOLDER_CHECKS

HUB_CHECKS: Mapping[str, Callable[[Settings], object]] = MappingProxyType(
    {
        **FOLDER_CHECKS,
        "mirrors": lambda settings: Upstreams(settings.mirrors),
        "tls_cert": Certificate.of,
        "forges": lambda settings: parse_forges(settings.forges),
        "identity_providers": lambda settings: check_identity_providers(settings.identity_providers),
        "ldap": lambda settings: check_ldap(settings.ldap),
    }
)
"""The settings of a hub that are checked when it starts."""

REGISTRY_CHECKS: Mapping[str, Callable[[Settings], object]] = MappingProxyType(
    {
        "data": FOLDER_CHECKS["data"],
        "mirrors": lambda settings: Upstreams(settings.mirrors, allow_unnamed=True),
        "tls_cert": Certificate.of,
    }
)
"""The settings of a private registry that are checked when it starts."""
