"""Verifies the chain from an image's digest to the commit that it was built from."""

from collections.abc import Callable
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from hythe.client.errors import RemoteNotFound
from hythe.client.protocol import RemoteRepository
from hythe.oci.digest import Digest
from hythe.oci.manifest import Descriptor
from hythe.provenance.attestation import ENVELOPE, attestation_tag
from hythe.provenance.envelope import Untrusted, open_envelope
from hythe.provenance.statement import BUILD_TYPE, PROVENANCE, SPDX, STATEMENT

KEYS_PATH = "/.well-known/hythe/builds.pem"
MAX_STATEMENT_SIZE = 16 << 20
_END = b"-----END PUBLIC KEY-----"


class ImageOrigin(msgspec.Struct, frozen=True):
    """The verified origin of an image: built by ``builder`` from ``commit`` of ``source``."""

    image: str
    digest: str
    source: str
    commit: str
    ref: str
    dockerfile: str
    builder: str
    built_at: str
    bases: dict[str, str]
    cache: str
    """What the build could use of earlier builds; empty: an older hub did not say so."""
    hooks: tuple[str, ...]
    packages: int


def verify_origin(repository: RemoteRepository, target: str, keys: list[EllipticCurvePublicKey]) -> ImageOrigin:
    """Verify the statements on an image and return its origin. Raises Untrusted, RemoteNotFound."""
    image = repository.get_manifest(target)
    digest = image.digest()
    statements = _statements(repository, digest, keys)
    found = statements.get(PROVENANCE)
    if found is None:
        raise Untrusted("no signed statement says what it was built from")
    definition = found["buildDefinition"]
    if definition["buildType"] != BUILD_TYPE:
        raise Untrusted(f"unknown build type: {definition['buildType']}")
    parameters, dependencies = definition["externalParameters"], definition["resolvedDependencies"]
    internal = definition.get("internalParameters", {})
    commit = next((each["digest"]["gitCommit"] for each in dependencies if "gitCommit" in each["digest"]), "")
    if not commit:
        raise Untrusted("its provenance names no commit")
    return ImageOrigin(
        image=f"{repository.session.host}/{repository.name}:{target}",
        digest=str(digest),
        source=parameters["source"],
        commit=commit,
        ref=parameters["ref"],
        dockerfile=parameters["dockerfile"],
        builder=found["runDetails"]["builder"]["id"],
        built_at=found["runDetails"]["metadata"]["finishedOn"],
        bases={
            each["uri"].removeprefix("oci:"): ":".join(next(iter(each["digest"].items())))
            for each in dependencies
            if each["uri"].startswith("oci:")
        },
        cache=internal.get("cache", ""),
        hooks=tuple(internal.get("hooks", ())),
        packages=max(0, len(statements.get(SPDX, {}).get("packages", ())) - 1),
    )


def fetch_keys(fetch: Callable[[str], bytes]) -> list[EllipticCurvePublicKey]:
    """Return the keys that a hub signs with; ``fetch`` returns the content of a path on it. Raises Untrusted."""
    return parse_keys(fetch(KEYS_PATH))


def parse_keys(content: bytes) -> list[EllipticCurvePublicKey]:
    """Return the public keys in a PEM file. Raises Untrusted."""
    keys = []
    for block in content.split(_END)[:-1]:
        try:
            key = load_pem_public_key(block + _END + b"\n")
        except ValueError as error:
            raise Untrusted(f"cannot read the key: {error}") from error
        if isinstance(key, EllipticCurvePublicKey):
            keys.append(key)
    if not keys:
        raise Untrusted("no public key to verify with")
    return keys


def _statements(repository: RemoteRepository, digest: Digest, keys: list[EllipticCurvePublicKey]) -> dict[str, Any]:
    """Return the predicates that one of ``keys`` signed for this digest, by type."""
    try:
        attached = repository.get_manifest(attestation_tag(digest))
    except RemoteNotFound as error:
        raise Untrusted("it has no attestations: it was not made by a Trusted Build") from error
    found: dict[str, Any] = {}
    for layer in attached.layers:
        if layer.media_type != ENVELOPE:
            continue
        statement = msgspec.json.decode(open_envelope(_content(repository, layer), keys))
        if statement.get("_type") != STATEMENT:
            continue
        if not any(subject["digest"].get(digest.algorithm) == digest.hex for subject in statement["subject"]):
            raise Untrusted("its attestation is about another image")
        if not all(subject["name"].endswith(f"/{repository.name}") for subject in statement["subject"]):
            raise Untrusted("its attestation is about another repository")
        found[statement["predicateType"]] = statement["predicate"]
    return found


def _content(repository: RemoteRepository, layer: Descriptor) -> bytes:
    if layer.size > MAX_STATEMENT_SIZE:
        raise Untrusted(f"a statement of {layer.size} bytes is too large")
    with repository.open_blob(layer) as response:
        content = response.read().body
    if not layer.parsed_digest.matches(content):
        raise Untrusted("a statement does not match its digest")
    return content
