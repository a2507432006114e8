"""nginx with the configuration of the documentation, in front of servers that a test started."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.parts.docker_registry import Certificate
from tests.parts.process import ROOT, Program, free_port, listening, own_folder, program

CONFIGURATION = ROOT / "docs" / "nginx.conf"

LISTEN = "listen 443 ssl http2;"

CERTIFICATE = ("/etc/ssl/hub.example.org.pem", "/etc/ssl/hub.example.org.key")

SERVER = re.compile(r"( *server )10\.0\.0\.11:5000(.*;)\n *server 10\.0\.0\.12:5000.*;\n")
"""The addresses of the servers, in each upstream."""


@dataclass(slots=True)
class Nginx:
    """A running nginx, which serves HTTPS and plain HTTP."""

    port: int
    tls_port: int
    folder: Path
    program: Program

    @property
    def host(self) -> str:
        """HOST:PORT of plain HTTP, the first part of an image name."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The root URL of plain HTTP."""
        return f"http://{self.host}"

    @property
    def log(self) -> str:
        """The access log, and the errors."""
        return (self.folder / "log").read_text(errors="replace")


def configuration(ports: Sequence[int], port: int, tls_port: int, certificate: Certificate, folder: Path) -> str:
    """Return the documented configuration for these servers; only addresses and files differ."""
    text, upstreams = SERVER.subn(
        lambda found: "".join(f"{found[1]}127.0.0.1:{each}{found[2]}\n" for each in ports), CONFIGURATION.read_text()
    )
    listen = f"listen 127.0.0.1:{tls_port} ssl http2;\n        listen 127.0.0.1:{port};"
    changes = ((LISTEN, listen), (CERTIFICATE[0], certificate.cert), (CERTIFICATE[1], certificate.key))
    assert upstreams == 2
    for before, after in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, str(after))
    temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"    {name}_temp_path {folder}/{name};\n" for name in temporary)
    text = text.replace("http {\n", "http {\n" + paths, 1)
    return f"daemon off;\npid {folder}/pid;\n{text}"


@contextlib.contextmanager
def running_nginx(
    ports: Sequence[int], certificate: Certificate, port: int, mistakes: Mapping[str, str] | None = None
) -> Iterator[Nginx]:
    """Run nginx in front of servers on these ports of 127.0.0.1. ``mistakes`` replace texts of its configuration."""
    with own_folder("nginx") as folder:
        tls_port = free_port()
        text = configuration(ports, port, tls_port, certificate, folder)
        for right, wrong in (mistakes or {}).items():
            assert right in text, right
            text = text.replace(right, wrong)
        (folder / "nginx.conf").write_text(text)
        command = [program("nginx", "nginx-light"), "-c", folder / "nginx.conf", "-p", folder]
        started = Program([*map(str, command)], folder / "log")
        try:
            started.wait_until(lambda: listening(port))
            yield Nginx(port, tls_port, folder, started)
        finally:
            started.stop()
