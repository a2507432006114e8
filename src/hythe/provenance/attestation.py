"""Attaches statements to an image in both forms that cosign reads.

Up to version 2: one manifest for an image with a layer for each DSSE envelope, under the tag ``sha256-HEX.att``
(cosign's "Attestation Spec"); ``hythe verify`` reads this one. Since version 3: a referrer for each envelope, as part
of a Sigstore bundle ("Cosign Bundle Specification").
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from hythe.client.layout import ImageLayout
from hythe.oci.config import ImageConfig, RootFS
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_CONFIG, OCI_EMPTY, OCI_MANIFEST, Descriptor, ImageManifest, Manifest

ENVELOPE = "application/vnd.dsse.envelope.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE_KEY = "predicateType"
SIGNATURE_KEY = "dev.cosignproject.cosign/signature"


def attestation_tag(digest: Digest) -> str:
    """Return the tag under which cosign looks for statements on an image."""
    return f"{digest.algorithm}-{digest.hex}.att"


def attestation_image(layout: ImageLayout, subject: Descriptor, envelopes: Sequence[tuple[str, bytes]]) -> Manifest:
    """Write envelopes (predicate type, bytes) into a layout as one manifest about ``subject``."""
    layers = tuple(_layer(layout, kind, envelope) for kind, envelope in envelopes)
    config = ImageConfig(rootfs=RootFS(diff_ids=tuple(layer.digest for layer in layers))).encode()
    content = ImageManifest(
        2,
        OCI_MANIFEST,
        Descriptor(OCI_CONFIG, str(layout.add_document(config)), len(config)),
        layers,
        artifact_type=ENVELOPE,
        subject=subject,
    ).encode()
    layout.add_document(content)
    return Manifest.parse(content, OCI_MANIFEST)


def bundle_image(layout: ImageLayout, subject: Descriptor, kind: str, envelope: bytes, created: str) -> Manifest:
    """Write an envelope of predicate type ``kind`` into a layout as a Sigstore bundle that refers to ``subject``.

    The bundle names the key only by its id, so verifiers must have the key. There is no transparency log.
    """
    fields = msgspec.json.decode(envelope, type=dict[str, Any])
    bundle = msgspec.json.encode(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": fields["signatures"][0]["keyid"]}, "tlogEntries": []},
            "dsseEnvelope": fields,
        }
    )
    content = ImageManifest(
        2,
        OCI_MANIFEST,
        Descriptor(OCI_EMPTY, str(layout.add_document(b"{}")), 2),
        (Descriptor(BUNDLE, str(layout.add_document(bundle)), len(bundle)),),
        artifact_type=BUNDLE,
        subject=subject,
        annotations={
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": kind,
            "org.opencontainers.image.created": created,
        },
    ).encode()
    layout.add_document(content)
    return Manifest.parse(content, OCI_MANIFEST)


def _layer(layout: ImageLayout, kind: str, envelope: bytes) -> Descriptor:
    annotations = {PREDICATE_KEY: kind, SIGNATURE_KEY: ""}
    return Descriptor(ENVELOPE, str(layout.add_document(envelope)), len(envelope), annotations=annotations)
