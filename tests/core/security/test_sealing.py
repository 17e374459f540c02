"""Sealed bytes open with our keys, for their purpose, untouched; never otherwise."""

import pickle

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import ConfigurationError
from app.core.security import SealBroken, Sealer
from tests.cases import each_case

OLD, NEW = (
    "an old key of the tests, thirty-two bytes or more",
    "a new key of the tests, thirty-two bytes or more",
)
SEALER = Sealer([NEW, OLD])


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_what_was_sealed_opens_again(data: bytes, context: bytes) -> None:
    sealed = SEALER.seal(data, context)
    assert SEALER.open(sealed, context) == data
    assert len(sealed) == len(data) + 37


def test_equal_values_look_different_and_show_nothing() -> None:
    first, second = SEALER.seal(b"a balance of 12", b"x"), SEALER.seal(b"a balance of 12", b"x")
    assert first != second
    assert b"balance" not in first
    assert len({SEALER.seal(b"", b"")[9:21] for _ in range(1000)}) == 1000


@each_case("context", [b"", b"cache:", b"cache:user:8", b"cache:user:77", b"idempotency:user:7"])
def test_another_context_does_not_open_it(context: bytes) -> None:
    sealed = SEALER.seal(b"x", b"cache:user:7")
    with pytest.raises(SealBroken):
        SEALER.open(sealed, context)


def test_no_bit_can_be_changed_and_no_byte_taken_or_added() -> None:
    sealed = SEALER.seal(b"data", b"x")
    changed = [
        sealed[:at] + bytes([sealed[at] ^ (1 << bit)]) + sealed[at + 1 :]
        for at in range(len(sealed))
        for bit in range(8)
    ]
    changed += [sealed[:size] for size in range(len(sealed))] + [sealed + b"\0", b"\0" + sealed]
    for broken in changed:
        with pytest.raises(SealBroken):
            SEALER.open(broken, b"x")


class TestRotation:
    def test_the_newest_key_seals_and_every_key_opens(self) -> None:
        before = Sealer([OLD]).seal(b"old", b"x")
        after = SEALER.seal(b"new", b"x")
        assert SEALER.open(before, b"x") == b"old"
        assert Sealer([NEW]).open(after, b"x") == b"new"
        with pytest.raises(SealBroken):
            Sealer([OLD]).open(after, b"x")

    def test_a_key_that_was_taken_out_opens_nothing(self) -> None:
        sealed = Sealer([OLD]).seal(b"old", b"x")
        with pytest.raises(SealBroken):
            Sealer([NEW]).open(sealed, b"x")

    def test_a_value_under_the_name_of_another_key_does_not_open(self) -> None:
        old, new = Sealer([OLD]).seal(b"data", b"x"), Sealer([NEW]).seal(b"data", b"x")
        with pytest.raises(SealBroken):
            SEALER.open(new[:9] + old[9:], b"x")


def test_the_key_is_derived_and_not_the_configured_one() -> None:
    key = "k" * 32
    sealed = Sealer([key]).seal(b"data", b"")
    with pytest.raises(InvalidTag):
        AESGCM(key.encode()).decrypt(sealed[9:21], sealed[21:], sealed[:9])


@each_case("keys", [[], "a single text of thirty-two bytes or more", ["short"], [NEW, "ä" * 15]])
def test_unusable_keys_are_refused_without_being_shown(keys: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="ENCRYPTION_KEYS") as caught:
        Sealer(keys)
    assert not any(key in str(caught.value) for key in keys if len(key) > 1)


def test_thirty_two_characters_are_enough() -> None:
    sealer = Sealer(["your-32-character-encryption-key"])
    assert sealer.open(sealer.seal(b"1", b""), b"") == b"1"


def test_keys_stay_inside() -> None:
    assert repr(SEALER) == "<Sealer with 2 keys>"
    assert not any(NEW in str(getattr(SEALER, name)) for name in Sealer.__slots__)
    with pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(SEALER)
    broken = SealBroken()
    assert broken.status == 500
    assert str(broken) == "A sealed value cannot be opened."
