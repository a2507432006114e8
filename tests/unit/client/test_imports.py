"""The client imports nothing from the server, and starts without modules that it does not need."""

from __future__ import annotations

import subprocess
import sys

SERVER = (
    "hythe.database",
    "hythe.registry",
    "hythe.hub",
    "hythe.builds",
    "hythe.web",
    "hythe.server",
    "hythe.settings",
)
ALLOWED = {"hythe", "msgspec", "isal", "backports"}
"""What `pip install hythe` brings and the client uses."""


def modules_after(program: str) -> set[str]:
    """Return the modules that a new interpreter has loaded after a program."""
    listed = f"{program}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


EVERYTHING = """
import importlib, pkgutil, hythe.client
for module in pkgutil.iter_modules(hythe.client.__path__):
    importlib.import_module(f"hythe.client.{module.name}")
"""


def test_the_client_imports_nothing_of_the_server() -> None:
    """All of it needs three packages in addition to the standard library."""
    loaded = modules_after(EVERYTHING)
    plain = modules_after("")
    foreign = {name.partition(".")[0] for name in loaded - plain} - sys.stdlib_module_names - ALLOWED

    assert not [name for name in loaded if name.startswith(SERVER)]
    assert {name for name in foreign if not name.startswith("_")} <= {"typing_extensions"}


def test_the_help_imports_almost_nothing() -> None:
    """`hythe --help` must start fast: no HTTP, no TLS, no msgspec."""
    loaded = modules_after("from hythe.cli.main import overview\noverview()")

    assert not loaded & {"ssl", "http.client", "msgspec", "asyncio", "hythe.client.client"}


PULLING = """
from hythe.cli.main import find_verb, load, make_parser
from hythe.client.connection import ConnectionFailed, ConnectionPool, TLSOptions
verb = find_verb("pull")
make_parser(verb, load(verb)).parse_args(["busybox"])
try:
    ConnectionPool(TLSOptions()).send("GET", "http://127.0.0.1:1/", {})
except ConnectionFailed:
    pass
"""


def test_pulling_imports_no_more_than_it_needs() -> None:
    """TLS only for HTTPS hosts; never email, asyncio or an HTTP package."""
    loaded = modules_after(PULLING)

    assert not loaded & {"ssl", "http.client", "email", "asyncio", "isal", "logging", "concurrent.futures"}
    assert not loaded & {"shutil", "encodings.idna"}


def test_public_names_come_from_the_package() -> None:
    """The names of `hythe.client.__all__` can be imported; others are refused as usual."""
    program = "from hythe.client import *\nassert Registry and Client and ClientError and RemoteImage"

    assert "hythe.client.registry" in modules_after(program)
