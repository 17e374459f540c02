"""Which key signs when, for how long it verifies, and what of it is published."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from app.core.errors import ConfigurationError
from app.core.security import Algorithm, KeySet, KeyTerm, TokenKey
from app.core.security._jwk_set import parse_jwk_set
from app.core.security._key_file import KeyFile
from app.core.security._public_jwk import public_jwk
from tests.cases import each_case
from tests.core.security.supabase import EDWARDS, ELLIPTIC, RSA_KEY, b64, jwk, key_set

SECRET = TokenKey.from_secret("a-secret-of-the-tests-with-more-than-32-bytes")
PRIVATE_KEYS: dict[Algorithm, Any] = {"EdDSA": EDWARDS, "ES256": ELLIPTIC, "RS256": RSA_KEY}
PUBLIC_MEMBERS = {
    "EdDSA": {"kty", "crv", "x", "kid", "use", "alg"},
    "ES256": {"kty", "crv", "x", "y", "kid", "use", "alg"},
    "RS256": {"kty", "n", "e", "kid", "use", "alg"},
}


def private(algorithm: Algorithm, kid: str = "k") -> TokenKey:
    pem = PRIVATE_KEYS[algorithm].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return TokenKey(kid, algorithm, pem)


def secret(kid: str) -> TokenKey:
    return TokenKey(kid, "HS256", kid.encode() * 32)


class TestTerms:
    @each_case(
        ("now", "state"),
        [(99.9, "upcoming"), (100, "signing"), (199.9, "signing"), (200, "retired"), (299.9, "retired"), (300, "over")],
    )  # fmt: skip
    def test_a_key_is_what_the_clock_says(self, now: float, state: str) -> None:
        assert KeyTerm(secret("a"), 100, 200, 300).state(now) == state

    def test_one_after_the_other_signs_and_each_verifies_before_and_after(self) -> None:
        keys = KeySet([KeyTerm(secret("b"), 100, until=500), KeyTerm(secret("a"), 0, 100, 200)])
        assert [keys.signer(now).kid for now in (-5, 0, 99, 100, 1000)] == ["a", "a", "a", "b", "b"]
        assert [keys.verifier("a", now) is not None for now in (-5, 0, 199, 200)] == [True, True, True, False]
        assert [keys.verifier("b", now) is not None for now in (-5, 0, 499, 500)] == [True, True, True, False]
        assert keys.verifier("c", 0) is None

    @each_case(
        "terms",
        [
            [],
            [KeyTerm(secret("a"))],
            [KeyTerm(secret("a"), 0), KeyTerm(secret("a"), 5)],
        ],
    )
    def test_no_key_that_signs_and_two_of_one_id_are_refused(self, terms: list[KeyTerm]) -> None:
        with pytest.raises(ConfigurationError):
            KeySet(terms)

    def test_a_key_that_went_or_changed_is_lost_and_one_that_came_is_not(self) -> None:
        one = KeySet([KeyTerm(secret("a"), 0)])
        more = KeySet([KeyTerm(secret("a"), 0), KeyTerm(secret("b"), 5)])
        changed = KeySet([KeyTerm(TokenKey("a", "HS256", b"x" * 32), 0)])
        assert (more.has_lost(one), one.has_lost(more), changed.has_lost(one)) == (False, True, True)


class TestPublished:
    @each_case("algorithm", list(PRIVATE_KEYS))
    def test_only_the_public_members_and_they_are_what_the_standard_says(self, algorithm: Algorithm) -> None:
        shown = public_jwk(private(algorithm))
        assert shown.keys() == PUBLIC_MEMBERS[algorithm]
        expected = jwk(PRIVATE_KEYS[algorithm], "k", key_ops=None, ext=None)
        assert shown == expected

    @each_case("algorithm", list(PRIVATE_KEYS))
    def test_no_private_number_of_any_kind_stands_in_it(self, algorithm: Algorithm) -> None:
        key = PRIVATE_KEYS[algorithm]
        if algorithm == "EdDSA":
            secrets = [key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())]
        else:
            numbers = key.private_numbers()
            names = {"ES256": ["private_value"], "RS256": ["d", "p", "q", "dmp1", "dmq1", "iqmp"]}[algorithm]
            values = [getattr(numbers, name) for name in names]
            secrets = [value.to_bytes((value.bit_length() + 7) // 8, "big") for value in values]
        text = repr(public_jwk(private(algorithm)))
        assert [b64(part)[:20] for part in secrets if b64(part)[:20] in text] == []

    @each_case("algorithm", list(PRIVATE_KEYS))
    def test_a_private_and_its_public_key_are_published_alike(self, algorithm: Algorithm) -> None:
        public = PRIVATE_KEYS[algorithm].public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        assert public_jwk(TokenKey("k", algorithm, pem)) == public_jwk(private(algorithm))

    def test_a_secret_has_no_public_part_and_is_not_in_the_set(self) -> None:
        with pytest.raises(ValueError, match="no public part"):
            public_jwk(SECRET)
        assert KeySet.fixed([SECRET]).published(0) == []
        mixed = KeySet([KeyTerm(private("ES256"), 0), KeyTerm(SECRET)])
        assert [one["alg"] for one in mixed.published(0)] == ["ES256"]

    def test_upcoming_and_retired_keys_are_published_and_those_that_are_over_are_not(self) -> None:
        keys = KeySet([
            KeyTerm(private("ES256", "old"), 0, 100, 200), KeyTerm(private("EdDSA", "new"), 100)
        ])  # fmt: skip
        kids = [[one["kid"] for one in keys.published(now)] for now in (50, 150, 200)]
        assert kids == [["old", "new"], ["old", "new"], ["new"]]

    def test_others_who_read_key_sets_as_we_do_take_them(self) -> None:
        keys = KeySet([KeyTerm(private(each, each), 0) for each in PRIVATE_KEYS])
        found = parse_jwk_set(json.dumps(key_set(*keys.published(0))).encode())
        assert {kid: key.algorithm for kid, key in found.items()} == {each: each for each in PRIVATE_KEYS}

    def test_a_coordinate_with_leading_zeros_keeps_its_length(self) -> None:
        # x of this point begins with a zero byte.
        numbers = (ec.derive_private_key(n, ec.SECP256R1()) for n in range(1, 2000))
        key = next(one for one in numbers if one.public_key().public_numbers().x < 2**248)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        assert len(public_jwk(TokenKey("k", "ES256", pem))["x"]) == 43


class TestFile:
    @each_case("algorithm", ["EdDSA", "ES256"])
    @each_case("follows", [False, True])
    def test_what_is_written_is_read_again(self, algorithm: Algorithm, follows: bool) -> None:
        made = KeyFile.make("k", algorithm, 1_800_000_000.7, follows_secret=follows)
        assert KeyFile.parse("k", made.document()) == made
        assert made.key.can_sign

    def test_a_secret_is_no_key_for_a_file(self) -> None:
        with pytest.raises(ConfigurationError, match="EdDSA, ES256 or RS256"):
            KeyFile.make("k", "HS256", 0)

    PEM = private("EdDSA").material
    HEAD = b"signs-from: 2026-11-22T10:00:00Z\n"
    PUBLIC = EDWARDS.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )

    @each_case(
        ("document", "message"),
        [
            (PEM, "signs-from"),
            (b"", "no private key"),
            (b"signs-from: tomorrow\n" + PEM, "signs-from"),
            (b"signs-from: 2026-02-30T10:00:00Z\n" + PEM, "signs-from"),
            (b"signs-from: 2026-11-22T10:00:00+01:00\n" + PEM, "signs-from"),
            (HEAD + HEAD + PEM, "twice"),
            (HEAD + b"follows: nothing\n" + PEM, "only"),
            (HEAD + b"signs-untill: 2026-11-22T10:00:00Z\n" + PEM, "only"),
            (HEAD + PUBLIC, "no private key"),
            (HEAD + PEM[:60], "no readable private key"),
            (HEAD + PEM.replace(b"M", b"*"), "no readable private key"),
            (HEAD + SMALL, "2048"),
            (b"\xff" + HEAD + PEM, "no PEM"),
            (HEAD + b" " * 20_000 + PEM, "longer"),
        ],
        ids=lambda value: value if isinstance(value, str) else "file",  # the keys are others in each process
    )
    def test_what_is_no_key_is_refused_in_words_that_show_nothing_of_it(
        self, document: bytes, message: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=message) as refused:
            KeyFile.parse("k", document)
        assert self.PEM.split(b"\n")[1][:30].decode() not in str(refused.value)

    def test_an_encrypted_key_is_refused(self) -> None:
        pem = EDWARDS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
        with pytest.raises(ConfigurationError, match="without a password"):
            KeyFile.parse("k", self.HEAD + pem)
