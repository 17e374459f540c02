"""EdDSA: what we sign with Ed25519, and what we do not take for it."""

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from app.core.errors import ConfigurationError
from app.core.resilience import ManualClock
from app.core.security import InvalidToken, TokenKey, TokenService
from tests.cases import each_case
from tests.core.security.forge import AUDIENCE, ISSUER, NOW, SECRET, good_claims, sign
from tests.core.security.supabase import EDWARDS, b64, signed

ORDER = 2**252 + 27742317777372353535851937790883648493
OTHER = ed25519.Ed25519PrivateKey.generate()
PUBLIC = EDWARDS.public_key()


def pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def spki(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def service(*keys: TokenKey) -> TokenService:
    return TokenService(keys, issuer=ISSUER, audience=AUDIENCE, clock=ManualClock(start=NOW + 1))


MAIN = TokenKey("main", "EdDSA", pem(EDWARDS))


def forged(key: Any = EDWARDS, **header: Any) -> str:
    return signed({"alg": "EdDSA", "kid": "main", "typ": "at+jwt", **header}, good_claims(), key)


def refused(tokens: TokenService, text: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        tokens.verify(text)
    return caught.value.reason


def test_a_private_key_signs_what_its_public_key_verifies() -> None:
    text = service(MAIN).issue("user-1", scopes=["read:records"]).token
    reader = service(TokenKey.from_secret(SECRET), TokenKey("main", "EdDSA", spki(EDWARDS)))
    assert reader.verify(text) == service(MAIN).verify(text)
    header, claims, signature = text.split(".")
    assert json.loads(urlsafe_b64decode(header + "==")) == {"alg": "EdDSA", "typ": "at+jwt", "kid": "main"}
    PUBLIC.verify(urlsafe_b64decode(signature + "=="), f"{header}.{claims}".encode())


def test_a_token_that_somebody_else_made_by_the_standard_is_taken() -> None:
    assert service(MAIN).verify(forged()).id == "user-1"


@each_case("alg", ["Ed25519", "eddsa", "EDDSA", "Ed448", "ES256", "HS256", "none", None])
def test_another_name_of_the_algorithm_is_refused(alg: Any) -> None:
    assert refused(service(MAIN), forged(alg=alg)) == "alg"


def test_another_key_or_a_changed_signature_is_refused() -> None:
    assert refused(service(MAIN), forged(OTHER)) == "signature"
    message, _, signature = forged().rpartition(".")
    raw = urlsafe_b64decode(signature + "==")
    high = (int.from_bytes(raw[32:], "little") + ORDER).to_bytes(32, "little")
    for changed in (raw[:32] + high, raw[:63], raw + b"\0", bytes(64), raw[32:] + raw[:32]):
        assert refused(service(MAIN), f"{message}.{b64(changed)}") == "signature"


@each_case(
    "secret",
    [spki(EDWARDS), PUBLIC.public_bytes(Encoding.Raw, PublicFormat.Raw), pem(EDWARDS)],
    ids=["public PEM", "public bytes", "private PEM"],
)
def test_the_public_key_is_no_secret_for_hmac(secret: bytes) -> None:
    both = service(MAIN, TokenKey("hmac", "HS256", SECRET.encode()))
    for kid in ("main", "hmac"):
        text = sign(header={"kid": kid}, key=secret)
        assert refused(both, text) in {"alg", "signature"}


def test_keys_of_two_algorithms_do_not_stand_for_one_another() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    both = service(MAIN, TokenKey("curve", "ES256", pem(curve)))
    assert refused(both, forged(kid="curve")) == "alg"
    assert refused(both, forged(kid="curve", alg="ES256")) == "signature"
    assert refused(both, forged(alg="ES256")) == "alg"


@each_case(
    "key",
    [
        ed448.Ed448PrivateKey.generate(),
        x25519.X25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256R1()),
    ],
)
def test_a_key_of_another_kind_stops_the_start(key: Any) -> None:
    for document in (pem(key), spki(key)):
        with pytest.raises(ConfigurationError, match="Ed25519"):
            TokenKey("k", "EdDSA", document)
    with pytest.raises(ConfigurationError, match="P-256"):
        TokenKey("k", "ES256", pem(EDWARDS))


def test_its_repr_hides_it() -> None:
    assert "PRIVATE" not in repr(MAIN)
