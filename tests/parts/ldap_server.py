"""A real LDAP server: Debian's slapd, with its own data, over TLS and in clear text."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.parts.process import Program, free_port, listening, own_folder, program

BASE = "dc=company,dc=example"
BIND_DN = f"cn=hub,{BASE}"
BIND_PASSWORD = "hub's own / password"

_CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
TLSCertificateFile {folder}/tls.crt
TLSCertificateKeyFile {folder}/tls.key
pidfile {folder}/pid
database mdb
maxsize 10485760
suffix "{base}"
directory {folder}/data
rootdn "{bind_dn}"
rootpw "{password}"
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""


@dataclass
class LDAPServer:
    """A running server."""

    port: int
    tls_port: int
    ca_file: Path
    folder: Path
    process: Program

    def add(self, ldif: str) -> None:
        """Add or change entries."""
        command = [program("ldapmodify", "ldap-utils"), "-x", "-a", "-H", f"ldap://127.0.0.1:{self.port}"]
        done = subprocess.run(
            [*command, "-D", BIND_DN, "-w", BIND_PASSWORD], input=ldif, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def add_person(self, uid: str, password: str, *, email: str = "") -> None:
        """Add a user."""
        mail = f"mail: {email}\n" if email else ""
        self.add(
            f"dn: uid={uid},ou=people,{BASE}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\n"
            f"{mail}userPassword: {password}\n"
        )


@pytest.fixture(scope="module")
def ldap_server() -> Iterator[LDAPServer]:
    """A server with the organizational units ``people`` and ``groups``, both empty."""
    with own_folder("ldap") as folder:
        (folder / "data").mkdir()
        _make_certificate(folder)
        port, tls_port = free_port(), free_port()
        values = {"folder": folder, "base": BASE, "bind_dn": BIND_DN, "password": BIND_PASSWORD}
        (folder / "slapd.conf").write_text(_CONFIGURATION.format(**values))
        addresses = f"ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port}"
        command: list[str | Path] = [program("slapd", "slapd"), "-d", "0", "-f", folder / "slapd.conf", "-h", addresses]
        process = Program(command, folder / "log")
        try:
            process.wait_until(lambda: listening(port))
            server = LDAPServer(port, tls_port, folder / "tls.crt", folder, process)
            server.add(
                f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: company\ndc: company\n\n"
                f"dn: ou=people,{BASE}\nobjectClass: organizationalUnit\nou: people\n\n"
                f"dn: ou=groups,{BASE}\nobjectClass: organizationalUnit\nou: groups\n"
            )
            yield server
        finally:
            process.kill()


def _make_certificate(folder: Path) -> None:
    files = ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run([*command, "-nodes", "-days", "2", *files, *names], check=True, capture_output=True)
