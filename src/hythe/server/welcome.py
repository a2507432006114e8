"""What a server says when it is ready: where it is, and what to type next."""

import shlex

from hythe.server.address import url_of
from hythe.server.http import Address
from hythe.settings import Settings

HUB = """\
Hythe is at {url}  (data in {data}; stop with Ctrl-C)

Share your first image:
  sign up at {url}/sign-up, then
  docker login {host}
  docker tag IMAGE {host}/YOU/NAME
  docker push {host}/YOU/NAME

Make the first administrator, who curates top-level names such as {host}/centos:
  {program} admin create-user NAME --email E-MAIL --admin{place}
"""

REGISTRY = """\
The registry is at {url}  (data in {data}; stop with Ctrl-C)

  docker tag IMAGE {host}/NAME
  docker push {host}/NAME
"""


def hub_welcome(settings: Settings, address: Address, program: str) -> str:
    """Return the first words of a hub; ``program`` is how the ``hythe`` command was called."""
    url = _url(settings, address)
    return HUB.format(url=url, host=_host(url), data=settings.data_folder, program=program, place=_place(settings))


def registry_welcome(settings: Settings, address: Address) -> str:
    """Return the first words of a private registry."""
    url = _url(settings, address)
    return REGISTRY.format(url=url, host=_host(url), data=settings.data_folder)


def _url(settings: Settings, address: Address) -> str:
    if settings.public_url:
        return settings.public_url.rstrip("/")
    return url_of(settings, address)


def _host(url: str) -> str:
    return url.partition("://")[2]


def _place(settings: Settings) -> str:
    """The flags by which ``hythe admin`` finds the same database."""
    if settings.database_url:
        return " --database-url URL"
    return "" if settings.data == Settings().data else f" --data {shlex.quote(str(settings.data_folder))}"
