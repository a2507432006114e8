"""Pushes Hythe's container image, and attaches a signed bill of materials and provenance to each platform's image.

Run by ``scripts/publish-image``. The statements have the form of those of Trusted Builds.
"""

import hashlib
import subprocess
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey

from hythe.client.client import Client
from hythe.client.endpoints import LayoutEndpoint, RegistryEndpoint
from hythe.client.layout import ImageLayout
from hythe.client.transfer import transfer
from hythe.oci.manifest import Descriptor, Manifest
from hythe.provenance.envelope import sign
from hythe.provenance.sbom import bill_of_materials
from hythe.provenance.statement import PROVENANCE, SPDX, statement
from hythe.worker.publish import attach

ROOT = Path(__file__).parents[1]
LAYOUT = ROOT / ".cache/image/layout"
BUILD_TYPE = "https://hythe.dev/image/v1"
"""The type of builds by ``scripts/image``."""

INPUTS = ("scripts/image", "deploy/image/Containerfile", "deploy/image/packages", "requirements/serve.lock")
"""What an image is made of besides the source; the provenance has their digests."""


def load_key(path: Path) -> EllipticCurvePrivateKey:
    """Return the private key in a PEM file."""
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise SystemExit(
            f"{path} holds no P-256 key\nhint: openssl ecparam -name prime256v1 -genkey -noout -out {path}"
        )
    return key


def key_id(key: EllipticCurvePrivateKey) -> str:
    """Return the SHA-256 of the public key."""
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()


def provenance(source: str, platform: str, built: str) -> dict[str, Any]:
    """Return the SLSA provenance of the image for a platform, built from the commit that is checked out."""
    commit = git("rev-parse", "HEAD")
    files = ({"uri": f"git+{source}#{path}", "digest": {"sha256": _sha256(ROOT / path)}} for path in INPUTS)
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"source": source, "commit": commit, "platform": platform},
            "internalParameters": {"uncommitted": bool(git("status", "--porcelain", "--untracked-files=no"))},
            "resolvedDependencies": [{"uri": f"git+{source}", "digest": {"gitCommit": commit}}, *files],
        },
        "runDetails": {"builder": {"id": f"{source}#scripts/image"}, "metadata": {"finishedOn": built}},
    }


def git(*arguments: str) -> str:
    """Return the output of a git command in this repository."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def images(index: Manifest) -> Iterator[tuple[Descriptor, str]]:
    """Yield the image of each platform with the platform's name."""
    for image in index.manifests:
        platform = image.platform
        yield image, f"{platform.os}/{platform.architecture}" if platform is not None else "unknown"


def publish(client: Client, name: str, key: EllipticCurvePrivateKey, source: str, layout: ImageLayout) -> str:
    """Push the layout's only index to ``name``, attach the statements, and return the index's digest."""
    reference = client.reference(name).with_default_tag()
    repository = client.repository(reference, push=True)
    (root,) = layout.read_index().manifests
    transfer(LayoutEndpoint(layout, root), RegistryEndpoint(repository, str(reference.tag)))
    now = datetime.now(UTC)
    full_name = f"{reference.host}/{reference.repository}"
    for image, platform in images(layout.read_manifest(root)):
        built = f"{now:%Y-%m-%dT%H:%M:%SZ}"
        predicates = (
            (PROVENANCE, provenance(source, platform, built)),
            (SPDX, bill_of_materials(layout.folder, image, full_name, now)),
        )
        envelopes = [
            (kind, sign(statement(full_name, image.digest, kind, predicate), key, key_id(key)))
            for kind, predicate in predicates
        ]
        with tempfile.TemporaryDirectory() as folder:
            attach(repository, image.digest, envelopes, Path(folder), built)
    return root.digest


def main() -> None:
    """Read the command line, and publish."""
    parser = ArgumentParser(prog="scripts/publish-image", description=__doc__)
    parser.add_argument("name", metavar="HOST/NAMESPACE/NAME[:TAG]")
    parser.add_argument("--key", type=Path, required=True, help="PEM file with the P-256 key that signs the statements")
    parser.add_argument("--source", default="", help="URL of the repository in the provenance (default: git's origin)")
    parser.add_argument("--layout", type=Path, default=LAYOUT, help="the OCI layout (default: that of scripts/image)")
    parser.add_argument("--plain-http", action="store_true", help="use HTTP without TLS")
    arguments = parser.parse_args()
    source = arguments.source or git("remote", "get-url", "origin")
    client = Client(plain_http=("*",) if arguments.plain_http else ())
    try:
        digest = publish(client, arguments.name, load_key(arguments.key), source, ImageLayout(arguments.layout))
    finally:
        client.close()
    print(f"{arguments.name}@{digest}")  # noqa: T201


if __name__ == "__main__":
    main()
