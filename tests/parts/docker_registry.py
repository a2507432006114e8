"""Debian's docker-registry (distribution 2.8): a peer to compare with, an upstream to mirror, a folder to import."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.parts.process import free_port, http_answers, listening, own_folder, program, running


@dataclass(frozen=True, slots=True)
class Certificate:
    """A CA and its certificate for 127.0.0.1 and localhost, as PEM files."""

    ca: Path
    cert: Path
    key: Path

    def trust_in(self, certs_d: Path, host: str) -> None:
        """Add the CA for `host` to docker's or podman's folder of CAs (`/etc/docker/certs.d` by default)."""
        folder = certs_d / host
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.crt").write_bytes(self.ca.read_bytes())


@dataclass(frozen=True, slots=True)
class DockerRegistry:
    """A running docker-registry; its blobs are below `data`/docker/registry/v2."""

    url: str
    data: Path
    log: Path

    @property
    def host(self) -> str:
        """HOST:PORT, the first part of an image name."""
        return self.url.split("://")[1]


@contextlib.contextmanager
def docker_registry_server(
    *,
    users: Mapping[str, str] | None = None,
    certificate: Certificate | None = None,
    mirror_of: str | None = None,
    data: Path | None = None,
) -> Iterator[DockerRegistry]:
    """Run a registry. `users` maps names to passwords; `mirror_of` is the URL of an upstream to mirror."""
    with own_folder("registry") as folder:
        port = free_port()
        scheme = "https" if certificate else "http"
        server = DockerRegistry(f"{scheme}://127.0.0.1:{port}", data or folder / "data", folder / "log")
        config = _configuration(server, users, certificate, mirror_of, folder)
        (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        command = [program("docker-registry", "docker-registry"), "serve", str(folder / "config.yml")]
        ready = (lambda: listening(port)) if certificate else (lambda: http_answers(f"{server.url}/v2/"))
        with running(command, server.log, ready):
            yield server


def _configuration(
    server: DockerRegistry,
    users: Mapping[str, str] | None,
    certificate: Certificate | None,
    mirror_of: str | None,
    folder: Path,
) -> dict[str, Any]:
    http: dict[str, Any] = {"addr": server.host, "secret": "only-for-tests"}
    if certificate:
        http["tls"] = {"certificate": str(certificate.cert), "key": str(certificate.key)}
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(server.data)},
            "delete": {"enabled": True},
            "cache": {"blobdescriptor": "inmemory"},
        },
        "http": http,
    }
    if users:
        (folder / "htpasswd").write_text(htpasswd(users))
        config["auth"] = {"htpasswd": {"realm": "docker-registry", "path": str(folder / "htpasswd")}}
    if mirror_of:
        config["proxy"] = {"remoteurl": mirror_of}
    return config


def htpasswd(users: Mapping[str, str]) -> str:
    """Return an htpasswd file (bcrypt) for these users."""
    command = program("htpasswd", "apache2-utils")
    lines = []
    for name, password in users.items():
        made = [command, "-Bbn", "-C", "5", name, password]
        lines.append(subprocess.run(made, check=True, capture_output=True, text=True).stdout.strip())
    return "\n".join(lines) + "\n"


def make_certificate(folder: Path) -> Certificate:
    """Create a CA and a certificate for 127.0.0.1, localhost and localhost.localdomain, valid for a day."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name, name = _name("hythe test CA"), _name("localhost")
    ca_builder = _builder(ca_name, ca_name, ca_key.public_key())
    ca = ca_builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    names = [x509.DNSName("localhost"), x509.DNSName("localhost.localdomain"), loopback]
    leaf = _builder(ca_name, name, key.public_key()).add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = Certificate(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    pem = serialization.Encoding.PEM
    certificate.ca.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    certificate.cert.write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    plain = serialization.NoEncryption()
    certificate.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return certificate


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate from the session's CA."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def start_docker_registry() -> Iterator[Callable[..., DockerRegistry]]:
    """Factory `start_docker_registry(users={"name": "password"}, certificate=.., mirror_of=.., data=..)`."""
    with contextlib.ExitStack() as stack:
        yield lambda **wishes: stack.enter_context(docker_registry_server(**wishes))


@pytest.fixture
def docker_registry(start_docker_registry: Callable[..., DockerRegistry]) -> DockerRegistry:
    """An empty docker-registry without authentication, over plain HTTP."""
    return start_docker_registry()
