"""A client of registries and hubs, with a local image store. Imports nothing of the server's.

    from hythe.client import Registry

    with Registry("registry.example.com") as registry:
        print(registry.tags("ann/app"))

``Registry`` is for scripts; ``Client`` and the modules below are what it is made of.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hythe.client.client import Client
    from hythe.client.errors import ClientError
    from hythe.client.registry import Registry, RemoteImage

_HOMES = {
    "Client": "hythe.client.client",
    "ClientError": "hythe.client.errors",
    "Registry": "hythe.client.registry",
    "RemoteImage": "hythe.client.registry",
}

__all__ = ["Client", "ClientError", "Registry", "RemoteImage"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only then: the command imports parts of this package and must start fast."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
