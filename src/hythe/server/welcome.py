"""The message that a server prints once it is ready: its address, and the first commands to type."""

import shlex

from hythe.server.listening import Address, url_of
from hythe.settings import Settings

HUB = """\
Hythe is running at {url} (data in {data}; press Ctrl-C to stop)

Push your first image:
  sign up at {url}/sign-up, then
  docker login {host}
  docker tag IMAGE {host}/USERNAME/NAME
  docker push {host}/USERNAME/NAME

Create the first administrator, who manages official images such as {host}/centos:
  {program} admin create-user USERNAME --email E-MAIL --admin{flags}
"""

REGISTRY = """\
The registry is running at {url} (data in {data}; press Ctrl-C to stop)

  docker tag IMAGE {host}/NAME docker push {host}/NAME
"""


def hub_welcome(settings: Settings, address: Address, program: str) -> str:
    """Return the message of a hub; ``program`` is how the ``hythe`` command was called."""
    url = _url(settings, address)
    return HUB.format(url=url, host=_host(url), data=settings.data_folder, program=program, flags=_flags(settings))


def registry_welcome(settings: Settings, address: Address) -> str:
    """Return the message of a private registry."""
    url = _url(settings, address)
    return REGISTRY.format(url=url, host=_host(url), data=settings.data_folder)


def ready_event(settings: Settings, address: Address) -> str:
    """Return the line of a log that says the same."""
    return f"ready at {_url(settings, address)}; data in {settings.data_folder}"


def _url(settings: Settings, address: Address) -> str:
    if settings.public_url:
        return settings.public_url.rstrip("/")
    return url_of(settings, address)


def _host(url: str) -> str:
    return url.partition("://")[2]


def _flags(settings: Settings) -> str:
    """Return the flags with which ``hythe admin`` uses the same database."""
    if settings.database_url:
        return " --database-url URL"
    return "" if settings.data == Settings().data else f" --data {shlex.quote(str(settings.data_folder))}"
