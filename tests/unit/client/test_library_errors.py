"""Whatever goes wrong, ``Registry`` and ``Client`` raise a ClientError with a hint, also for bad input."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.sample_images import add_image

from hythe.client import Client, ClientError, Registry, errors
from hythe.client.credential_files import CredentialFiles
from hythe.client.errors import as_client_errors
from hythe.client.layout import ImageLayout
from hythe.client.retry import RetryPolicy
from hythe.oci.errors import InvalidDigest, InvalidManifest, InvalidReference
from hythe.oci.manifest import Descriptor
from hythe.oci.scope import InvalidScope

NOWHERE = "127.0.0.1:1"
"""A registry that nothing serves: what reaches it is a connection error."""
BAD_NAMES = ("", "UP", "a b", "a:", "a@", "a@x", "a@sha256:x", "../x", "a//b", "a\n", "0" * 64, "é", "x" * 400)
BAD_HOSTS = ("", "a b", "http://x", "h:99999", "h:0", "[::1", "x/y", "ümlaut")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    files = CredentialFiles({"HOME": str(tmp_path)})
    return Registry(NOWHERE, client=Client(None, files, store=tmp_path / "store", policy=RetryPolicy(attempts=1)))


def refused(call: Callable[[], object]) -> ClientError:
    with pytest.raises(ClientError) as caught:
        call()
    assert str(caught.value)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("method", ["tags", "manifest", "image", "delete", "reference"])
def test_invalid_names(registry: Registry, method: str, name: str) -> None:
    """Also an InvalidReference, which callers of the parsers already catch."""
    assert isinstance(refused(lambda: getattr(registry, method)(name)), InvalidReference)
    assert isinstance(refused(lambda: registry.read_blob(name, Descriptor("x", "sha256:x", 1))), InvalidReference)


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_invalid_hosts(host: str) -> None:
    """At the constructor, or at the first call."""
    refused(lambda: Registry(host).tags("ann/app"))


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("store:nothing", "store:x"),
        ("oci:/nothing", "store:x"),
        ("oci:", "store:x"),
        ("docker-archive:/nothing", "store:x"),
        ("docker-archive:/etc/passwd", "store:x"),
        ("docker-archive:/etc", "store:x"),
        ("oci-archive:x", "store:x"),
        ("UP", "store:x"),
        ("docker://", "store:x"),
        ("oci:{layout}", "oci:/proc/nothing"),
        ("oci:{layout}", "oci:/etc/passwd"),
        ("oci:{layout}", "docker-archive:/proc/nothing/x.tar"),
        ("oci:{layout}", "docker-archive:/etc"),
        ("oci:{layout}", "store:UP"),
        ("oci:{layout}", "store:x@sha256:" + "0" * 64),
        ("oci:{layout}", "UP"),
        ("oci:{layout}", "ann/app"),
    ],
)
def test_invalid_locations(registry: Registry, tmp_path: Path, source: str, destination: str) -> None:
    """Missing files, folders in place of files, kinds that are not supported."""
    layout = ImageLayout(tmp_path / "layout")
    with layout.changing_index() as descriptors:
        descriptors.append(add_image(layout, {"a": b"1"}))

    refused(lambda: registry.copy(source.format(layout=layout.folder), destination))


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"auths": 5}', '{"credHelpers": 5}', '{"credsStore": "nothing"}', "\x00", '{"a":' * 10_000, b"\xff"],
)
def test_invalid_credential_files(tmp_path: Path, content: str | bytes) -> None:
    """They name the file or the helper."""
    path = tmp_path / ".docker" / "config.json"
    path.parent.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    refused(lambda: CredentialFiles({"HOME": str(tmp_path), "PATH": os.environ["PATH"]}).find("h"))


def test_invalid_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration file that is a folder."""
    monkeypatch.setenv("HYTHE_CONFIG", str(tmp_path))

    refused(Registry)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InvalidReference("x"), errors.InvalidName),
        (InvalidDigest("x"), errors.InvalidName),
        (InvalidScope("x"), errors.InvalidName),
        (InvalidManifest("x"), errors.InvalidImage),
        (PermissionError(13, "Permission denied", "/x"), errors.UnusableFile),
        (OSError(28, "No space left on device", "/x"), errors.DiskFull),
        (errors.AccessDenied("x"), errors.AccessDenied),
    ],
)
def test_other_errors_become_client_errors(error: Exception, kind: type[ClientError]) -> None:
    """Those of ``oci`` and of the operating system."""
    with pytest.raises(ClientError) as caught, as_client_errors():
        raise error

    assert type(caught.value) is kind


def test_every_public_method_translates_its_errors() -> None:
    """A new method of Registry cannot be forgotten: it is a generator with the translation inside, or wrapped."""
    plain = {"close", "repositories"}
    for name, method in inspect.getmembers(Registry, inspect.isfunction):
        if not name.startswith("_") and name not in plain:
            assert hasattr(method, "__wrapped__"), name
    assert "as_client_errors" in inspect.getsource(Registry.repositories)


def test_the_errors_are_listed() -> None:
    """The tree in the docstring of their module, which docs/client.md refers to, is complete."""
    kinds: dict[str, Any] = dict(inspect.getmembers(errors, inspect.isclass))
    listed = errors.__doc__ or ""

    assert [name for name, kind in kinds.items() if issubclass(kind, ClientError) and name not in listed] == []
