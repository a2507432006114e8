"""Statements attached to an image, as cosign keeps them: one manifest, a layer per DSSE envelope.

The manifest has the tag ``sha256-HEX.att`` (cosign's "Attestation Spec") and names the image as its ``subject``, so
that it is among the image's referrers, too (image specification 1.1).
"""

from collections.abc import Sequence

from hythe.client.layout import ImageLayout
from hythe.oci.config import ImageConfig, RootFS
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_CONFIG, OCI_MANIFEST, Descriptor, ImageManifest, Manifest

ENVELOPE = "application/vnd.dsse.envelope.v1+json"
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


def _layer(layout: ImageLayout, kind: str, envelope: bytes) -> Descriptor:
    annotations = {PREDICATE_KEY: kind, SIGNATURE_KEY: ""}
    return Descriptor(ENVELOPE, str(layout.add_document(envelope)), len(envelope), annotations=annotations)
