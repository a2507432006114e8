"""The TLS certificate: read at startup, invalid files are reported, and reloaded on demand."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest
from tests.parts.docker_registry import Certificate as Files
from tests.parts.docker_registry import make_certificate

from hythe.server.certificate import Certificate
from hythe.settings import Settings, SettingsError


@pytest.fixture(scope="module")
def other_certificate(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Another certificate for the same names."""
    return make_certificate(tmp_path_factory.mktemp("other"))


def shown(certificate: Certificate) -> bytes:
    """The certificate that a client receives, as DER."""

    async def look() -> bytes:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificate.context)
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=trusting)
            seen: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
        return seen

    return asyncio.run(look())


def test_no_certificate_is_plain_http() -> None:
    """Nothing is read when nothing is set."""
    assert Certificate.of(Settings()) is None


@pytest.mark.parametrize(
    ("cert", "key", "message"),
    [
        ("absent", "key", "tls_cert: .*absent' is invalid: use a PEM file; it cannot be read: No such file"),
        ("cert", "absent", "tls_key: .*absent' is invalid: use a PEM file; it cannot be read: No such file"),
        ("cert", "other-key", "tls_key: .*use the key of the first certificate in .*: they do not match"),
        ("key", "key", "tls_cert: .*use a file with a certificate in PEM"),
        ("cert", "cert", "tls_key: .*use a file with a private key in PEM"),
    ],
)
def test_files_of_no_use_are_named(
    certificate: Files, other_certificate: Files, tmp_path: Path, cert: str, key: str, message: str
) -> None:
    """The error names the files and what is wrong with them."""
    files = {"cert": certificate.cert, "key": certificate.key, "other-key": other_certificate.key}
    given = [str(files.get(name, tmp_path / name)) for name in (cert, key)]

    with pytest.raises(SettingsError, match=message):
        Certificate(*given)


def test_a_renewed_certificate_is_shown_to_the_next_client(
    certificate: Files, other_certificate: Files, tmp_path: Path
) -> None:
    """Reloading takes the new files; as long as they do not go together, the old ones stay in force."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(certificate.cert, cert)
    shutil.copy(certificate.key, key)
    served = Certificate(str(cert), str(key))
    before = shown(served)
    shutil.copy(other_certificate.cert, cert)
    served.reload()
    between = shown(served)
    shutil.copy(other_certificate.key, key)

    served.reload()

    assert between == before
    assert shown(served) == ssl.PEM_cert_to_DER_cert(other_certificate.cert.read_text()) != before
