"""A Supabase project as our side sees it: keys that it publishes, and tokens that it, or a forger, signs. Uses no token library."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NOW = 1_800_000_000
SECRET = "the-legacy-secret-of-a-project-of-these-tests"
USER = UUID("3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b")

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
ELLIPTIC = ec.generate_private_key(ec.SECP256R1())
ANOTHER = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8 or 1, "big"))


def jwk(key: SigningKey, kid: str, /, **changes: Any) -> dict[str, Any]:
    """The public part as Supabase publishes it, changed; None removes a member."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        point = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return _members({"kty": "OKP", "crv": "Ed25519", "x": b64(point), "alg": "EdDSA"}, kid, changes)
    public = key.public_key().public_numbers()
    if isinstance(public, ec.EllipticCurvePublicNumbers):
        kind = {"kty": "EC", "crv": "P-256", "x": number(public.x), "y": number(public.y), "alg": "ES256"}
    else:
        kind = {"kty": "RSA", "n": number(public.n), "e": number(public.e), "alg": "RS256"}
    return _members(kind, kid, changes)


def _members(kind: Mapping[str, Any], kid: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    members = {**kind, "kid": kid, "use": "sig", "key_ops": ["verify"], "ext": True, **changes}
    return {name: value for name, value in members.items() if value is not None}


def key_set(*keys: Mapping[str, Any]) -> dict[str, Any]:
    return {"keys": list(keys)}


def claims_of(issuer: str, now: float = NOW) -> dict[str, Any]:
    at = int(now)
    return {
        "iss": issuer,
        "aud": "authenticated",
        "sub": str(USER),
        "iat": at,
        "exp": at + 3600,
        "role": "authenticated",
        "aal": "aal1",
        "session_id": "b7e1c1de-0f5f-4f0c-9a57-0a8c3b9cb0c4",
        "email": "somebody@example.com",
        "phone": "",
        "is_anonymous": False,
        "amr": [{"method": "password", "timestamp": at - 60}],
        "app_metadata": {"provider": "email", "roles": ["db_reader"], "scopes": ["read:records"]},
        "user_metadata": {"roles": ["admin"], "scopes": ["write:monitor"]},
    }


def signed(header: Mapping[str, Any], claims: Mapping[str, Any], key: SigningKey | bytes) -> str:
    """A compact token over these members, None removed; a key of bytes makes an HMAC, whatever the header says."""
    parts = [
        b64(json.dumps({n: v for n, v in part.items() if v is not None}).encode())
        for part in (header, claims)
    ]
    message = ".".join(parts).encode()
    return f"{message.decode()}.{b64(_signature(message, key))}"


def _signature(message: bytes, key: SigningKey | bytes) -> bytes:
    if isinstance(key, bytes):
        return hmac.digest(key, message, sha256)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), SHA256())
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def token(
    issuer: str,
    *,
    kid: Any = "first",
    key: SigningKey | bytes = ELLIPTIC,
    alg: Any = "ES256",
    now: float = NOW,
    header: Mapping[str, Any] | None = None,
    without: Iterable[str] = (),
    **claims: Any,
) -> str:
    """A good token of the project at ``issuer``, changed as told."""
    said = {**claims_of(issuer, now), **claims, **dict.fromkeys(without)}
    return signed({"alg": alg, "kid": kid, "typ": "JWT", **(header or {})}, said, key)
