"""Makes tokens that we would never make. Signs with the standard library alone, so that no library refuses to help."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

SECRET = "a-secret-of-the-tests-with-more-than-32-bytes"
ISSUER = "https://issuer.example"
AUDIENCE = "gatehouse-tests"
KID = "main"
NOW = 1_800_000_000


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def good_header() -> dict[str, Any]:
    return {"alg": "HS256", "kid": KID, "typ": "at+jwt"}


def good_claims() -> dict[str, Any]:
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-1",
        "iat": NOW,
        "iat_ms": NOW * 1000,
        "nbf": NOW,
        "exp": NOW + 900,
        "jti": "token-1",
        "sid": "session-1",
        "scope": "read:records",
        "roles": ["db_reader"],
        "amr": ["pwd"],
        "auth_time": NOW,
    }


def sign_raw(header: bytes, claims: bytes, key: bytes = SECRET.encode()) -> str:
    """A compact JWS over these very bytes with an HMAC-SHA256 signature."""
    signing_input = f"{b64(header)}.{b64(claims)}"
    return f"{signing_input}.{b64(hmac.digest(key, signing_input.encode(), sha256))}"


def sign(
    *,
    header: Mapping[str, Any] | None = None,
    claims: Mapping[str, Any] | None = None,
    key: bytes = SECRET.encode(),
) -> str:
    """A token whose header and claims are the good ones, changed by ``header`` and ``claims``; ``None`` removes a member."""
    return sign_raw(_json(good_header(), header or {}), _json(good_claims(), claims or {}), key)


def _json(good: dict[str, Any], changes: Mapping[str, Any]) -> bytes:
    merged = {**good, **changes}
    return json.dumps({name: value for name, value in merged.items() if value is not None}).encode()
