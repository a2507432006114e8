"""A client for registries and hubs, with a local image store. Imports nothing from the server.

    from hythe.client import Registry

    with Registry("registry.example.com") as registry:
        print(registry.tags("ann/app"))

``Registry`` is the API for scripts; it is built from ``Client`` and the modules below.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hythe.client.client import Client
    from hythe.client.errors import ClientError
    from hythe.client.registry import Registry, RemoteImage

_MODULES = {
    "Client": "hythe.client.client",
    "ClientError": "hythe.client.errors",
    "Registry": "hythe.client.registry",
    "RemoteImage": "hythe.client.registry",
}

__all__ = ["Client", "ClientError", "Registry", "RemoteImage"]


def __getattr__(name: str) -> Any:
    """Import public names on first use: the command imports parts of this package and must start fast."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
