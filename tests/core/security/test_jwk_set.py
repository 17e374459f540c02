"""What is taken from a published key set, and what is not."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.core.security._jwk_set import MAX_KEYS, KeysNotRead, parse_jwk_set
from tests.cases import each_case
from tests.core.security.supabase import ANOTHER, EDWARDS, ELLIPTIC, RSA_KEY, b64, jwk, key_set, number

SHORT = rsa.generate_private_key(public_exponent=65537, key_size=1024)
OTHER_CURVE = ec.generate_private_key(ec.SECP384R1())
_FIELD = 2**255 - 19
_SMALL = int("5fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826", 16)
ANYBODY_SIGNS = [
    (y | sign << 255).to_bytes(32, "little")
    for y in (0, 1, _FIELD - 1, _SMALL, _FIELD - _SMALL, _FIELD, _FIELD + 1)
    for sign in (0, 1)
]
"""Every spelling of the points of small order of Ed25519."""


def parsed(*keys: Any) -> dict[str, str]:
    found = parse_jwk_set(json.dumps({"keys": list(keys)}).encode())
    return {kid: key.algorithm for kid, key in found.items()}


def reason(document: bytes) -> str:
    with pytest.raises(KeysNotRead) as refused:
        parse_jwk_set(document)
    return refused.value.reason


def test_keys_of_all_kinds_are_taken_by_their_ids() -> None:
    found = parsed(jwk(ELLIPTIC, "a"), jwk(RSA_KEY, "b"), jwk(EDWARDS, "c"))
    assert found == {"a": "ES256", "b": "RS256", "c": "EdDSA"}


@each_case("point", ANYBODY_SIGNS)
def test_the_library_would_take_a_key_of_which_anybody_can_sign(point: bytes) -> None:
    ed25519.Ed25519PublicKey.from_public_bytes(point)


def test_the_same_key_is_the_same_key_again() -> None:
    document = json.dumps(key_set(jwk(ELLIPTIC, "a"))).encode()
    assert parse_jwk_set(document) == parse_jwk_set(document)
    assert parse_jwk_set(document) != parse_jwk_set(json.dumps(key_set(jwk(ANOTHER, "a"))).encode())


@each_case("absent", ["use", "key_ops", "alg", "ext"])
def test_members_that_the_standard_makes_optional_may_be_absent(absent: str) -> None:
    assert parsed(jwk(ELLIPTIC, "a", **{absent: None})) == {"a": "ES256"}


def test_a_set_without_keys_is_a_set() -> None:
    assert parsed() == {}


@each_case(
    "useless",
    [
        jwk(ELLIPTIC, "x", use="enc"),
        jwk(ELLIPTIC, "x", key_ops=["sign"]),
        jwk(ELLIPTIC, "x", key_ops="verify"),
        jwk(ELLIPTIC, "x", alg="ES384"),
        jwk(ELLIPTIC, "x", alg="HS256"),
        jwk(RSA_KEY, "x", alg="RS512"),
        jwk(RSA_KEY, "x", alg="ES256"),
        jwk(ELLIPTIC, "x", d=number(7)),
        jwk(RSA_KEY, "x", d=number(7)),
        jwk(ELLIPTIC, "x", kid=None),
        jwk(ELLIPTIC, ""),
        jwk(ELLIPTIC, "../../etc/passwd"),
        jwk(ELLIPTIC, "x" * 65),
        jwk(ELLIPTIC, "x", kid=7),
        jwk(ELLIPTIC, "x", crv="P-384"),
        jwk(ELLIPTIC, "x", y=None),
        jwk(ELLIPTIC, "x", y=number(1)),
        jwk(ELLIPTIC, "x", x="*"),
        jwk(ELLIPTIC, "x", x=1),
        jwk(SHORT, "x"),
        jwk(RSA_KEY, "x", n=b64(b"\xff" * 1025)),
        jwk(RSA_KEY, "x", e=number(2**33 + 1)),
        jwk(RSA_KEY, "x", e=number(1)),
        jwk(RSA_KEY, "x", kty="EC"),
        jwk(OTHER_CURVE, "x"),
        {"kty": "oct", "kid": "x", "k": b64(b"k" * 32), "alg": "HS256", "use": "sig"},
        jwk(EDWARDS, "x", crv="X25519"),
        jwk(EDWARDS, "x", crv="Ed448"),
        jwk(EDWARDS, "x", alg="Ed25519"),
        jwk(EDWARDS, "x", alg="ES256"),
        jwk(EDWARDS, "x", d=b64(b"k" * 32)),
        jwk(EDWARDS, "x", x=b64(b"k" * 31)),
        jwk(EDWARDS, "x", x=b64(b"k" * 33)),
        jwk(EDWARDS, "x", x=None),
        jwk(EDWARDS, "x", kty="EC"),
        *(jwk(EDWARDS, "x", x=b64(point)) for point in ANYBODY_SIGNS),
        {"kty": ["EC"], "kid": "x"},
        {},
    ],
)
def test_every_other_key_is_passed_over(useless: dict[str, Any]) -> None:
    assert parsed(useless, jwk(ELLIPTIC, "good")) == {"good": "ES256"}


@each_case(
    ("document", "word"),
    [
        (b"", "json"),
        (b"<html>", "json"),
        (b"\xff", "json"),
        (b'{"keys": [', "json"),
        (b"[" * 50_000, "json"),
        (b'{"keys": NaN}', "json"),
        (b"[]", "form"),
        (b"null", "form"),
        (b"{}", "form"),
        (b'{"keys": {}}', "form"),
        (b'{"keys": [1]}', "form"),
        (json.dumps(jwk(ELLIPTIC, "a")).encode(), "form"),
        (json.dumps(key_set(*({"kty": "oct"} for _ in range(MAX_KEYS + 1)))).encode(), "too_many"),
        (json.dumps(key_set(jwk(ELLIPTIC, "a"), jwk(ANOTHER, "a"))).encode(), "duplicate"),
    ],
)
def test_what_is_no_key_set_is_not_read(document: bytes, word: str) -> None:
    assert reason(document) == word


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = ("kty", "kid", "use", "alg", "key_ops", "crv", "x", "y", "n", "e", "d")


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([ELLIPTIC, RSA_KEY, EDWARDS]), st.dictionaries(st.sampled_from(MEMBERS), JSON)
        ),
        max_size=3,
    )
)
@example([(RSA_KEY, {"n": "AA"})])
@example([(RSA_KEY, {"e": "AA"})])
@example([(ELLIPTIC, {"x": "A"})])
def test_whatever_a_key_says_it_is_usable_or_passed_over_and_never_an_error(
    damaged: list[tuple[Any, dict[str, Any]]],
) -> None:
    listed = [{**jwk(key, str(n)), **changes} for n, (key, changes) in enumerate(damaged)]
    try:
        found = parse_jwk_set(json.dumps(key_set(*listed)).encode())
    except KeysNotRead as refused:
        assert refused.reason in {"json", "duplicate"}  # noqa: PT017 - lone surrogates are no JSON; changed ids may be equal
    else:
        assert {key.algorithm for key in found.values()} <= {"ES256", "RS256", "EdDSA"}


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_whatever_is_published_it_is_a_set_or_not_read(document: bytes) -> None:
    try:
        parse_jwk_set(document)
    except KeysNotRead as refused:
        assert refused.reason in {"json", "form"}  # noqa: PT017
