"""DSSE envelopes (secure-systems-lab/dsse, protocol 1.0.2) signed with ECDSA P-256, as in cosign."""

import base64
import binascii

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_ALGORITHM = ECDSA(SHA256())


class Untrusted(Exception):
    """The envelope is invalid, or none of the keys signed it."""


class _Signature(msgspec.Struct, frozen=True):
    sig: str
    keyid: str = ""


class _Envelope(msgspec.Struct, frozen=True, rename={"payload_type": "payloadType"}):
    payload: str
    payload_type: str
    signatures: tuple[_Signature, ...]


def sign(payload: bytes, key: EllipticCurvePrivateKey, key_id: str) -> bytes:
    """Return the envelope around ``payload``."""
    signature = key.sign(_pre_authentication_encoding(PAYLOAD_TYPE, payload), _ALGORITHM)
    signed = _Signature(base64.b64encode(signature).decode(), key_id)
    return msgspec.json.encode(_Envelope(base64.b64encode(payload).decode(), PAYLOAD_TYPE, (signed,)))


def open_envelope(content: bytes, keys: list[EllipticCurvePublicKey]) -> bytes:
    """Return the payload of an envelope that one of ``keys`` signed. Raises Untrusted."""
    try:
        envelope = msgspec.json.decode(content, type=_Envelope)
        payload = base64.b64decode(envelope.payload, validate=True)
        signatures = [base64.b64decode(each.sig, validate=True) for each in envelope.signatures]
    except (msgspec.MsgspecError, binascii.Error) as error:
        raise Untrusted(f"not a DSSE envelope: {error}") from error
    message = _pre_authentication_encoding(envelope.payload_type, payload)
    if envelope.payload_type == PAYLOAD_TYPE and any(_is_valid(s, message, key) for s in signatures for key in keys):
        return payload
    raise Untrusted("not signed by a key of this hub")


def _pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding, which includes the type in the signature."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _is_valid(signature: bytes, message: bytes, key: EllipticCurvePublicKey) -> bool:
    try:
        key.verify(signature, message, _ALGORITHM)
    except InvalidSignature:
        return False
    return True
