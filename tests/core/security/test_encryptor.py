"""Encrypted texts open with our keys, for their purpose, untouched; never otherwise, and never as garbage."""

import copy
import pickle
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import assume, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from app.core.errors import ConfigurationError
from app.core.security import DataEncryptor, DecryptionFailed, SealBroken, configure_encryption
from tests.cases import each_case

unhurried = limits(deadline=None)  # a busy machine is no failure
OLD, NEW = "an old key of encryptor tests, 32 bytes or more", "a new key of encryptor tests, 32 bytes or more"
BEFORE, BOTH, AFTER = DataEncryptor([OLD]), DataEncryptor([NEW, OLD]), DataEncryptor([NEW])
ANY_TEXT = st.text(st.characters(codec=None))
TOKEN = BOTH.encrypt("a token that is changed")


def count(operation: str, outcome: str) -> float:
    labels = {"operation": operation, "outcome": outcome}
    return REGISTRY.get_sample_value("gatehouse_encryption_operations_total", labels) or 0.0


class TestRoundTrip:
    @unhurried
    @given(text=ANY_TEXT)
    def test_every_text_comes_back(self, text: str) -> None:
        token = BOTH.encrypt(text)
        assert BOTH.decrypt(token) == text
        assert token.isascii()
        assert token.isprintable()
        assert len(text) < 8 or text not in token

    def test_the_documents_other_names_do_the_same(self) -> None:
        assert BOTH.decrypt_data(BOTH.encrypt("word")) == BOTH.decrypt(BOTH.encrypt_data("word")) == "word"

    def test_equal_texts_become_different_tokens(self) -> None:
        assert len({BOTH.encrypt("the same") for _ in range(100)}) == 100

    def test_it_is_fernet(self) -> None:
        assert urlsafe_b64decode(BOTH.encrypt("word"))[0] == 0x80
        assert len(urlsafe_b64decode(BOTH.encrypt(""))) == 1 + 8 + 16 + 16 + 32

    @each_case("value", [None, 7, b"bytes"])
    def test_what_is_no_text_is_refused(self, value: Any) -> None:
        with pytest.raises(TypeError):
            BOTH.encrypt(value)
        with pytest.raises(TypeError):
            BOTH.decrypt(value)


class TestRefusal:
    @unhurried
    @given(at=st.integers(0, len(TOKEN) - 1), letter=st.characters(codec=None))
    def test_one_letter_that_is_another_makes_it_unreadable(self, at: int, letter: str) -> None:
        assume(TOKEN[at] != letter)
        with pytest.raises(DecryptionFailed):
            BOTH.decrypt(TOKEN[:at] + letter + TOKEN[at + 1 :])

    @unhurried
    @given(at=st.integers(0, len(TOKEN)), letter=st.characters(codec=None))
    def test_one_letter_more_makes_it_unreadable(self, at: int, letter: str) -> None:
        changed = TOKEN[:at] + letter + TOKEN[at:]
        assume(changed != TOKEN)
        with pytest.raises(DecryptionFailed):
            BOTH.decrypt(changed)

    @unhurried
    @given(length=st.integers(0, len(TOKEN) - 1))
    def test_a_part_of_it_is_unreadable(self, length: int) -> None:
        with pytest.raises(DecryptionFailed):
            BOTH.decrypt(TOKEN[:length])

    @unhurried
    @given(text=ANY_TEXT)
    def test_what_was_never_encrypted_is_no_text(self, text: str) -> None:
        for act in (BOTH.decrypt, BOTH.rotate):
            with pytest.raises(DecryptionFailed):
                act(text)

    @unhurried
    @given(key=st.text(min_size=32), other=st.text(min_size=32), text=ANY_TEXT)
    def test_another_key_does_not_open_it(self, key: str, other: str, text: str) -> None:
        assume(key != other)
        token = DataEncryptor([key]).encrypt(text)
        with pytest.raises(DecryptionFailed, match="ENCRYPTION_KEYS"):
            DataEncryptor([other]).decrypt(token)

    def test_the_configured_key_itself_is_never_used(self) -> None:
        key = Fernet.generate_key().decode()
        with pytest.raises(DecryptionFailed):
            DataEncryptor([key]).decrypt(Fernet(key).encrypt(b"word").decode())

    def test_the_caller_of_an_endpoint_is_told_nothing(self) -> None:
        error = DecryptionFailed("the reason")
        assert (error.status, error.detail, str(error)) == (500, None, "the reason")
        assert isinstance(SealBroken(), DecryptionFailed)


class TestPurpose:
    @unhurried
    @given(first=st.text(), second=st.text(), text=ANY_TEXT)
    def test_what_was_for_one_purpose_does_not_open_for_another(
        self, first: str, second: str, text: str
    ) -> None:
        assume(first != second)
        one, other = BOTH.for_purpose(first), DataEncryptor([NEW, OLD], purpose=second)
        token = one.encrypt(text)
        assert DataEncryptor([NEW, OLD], purpose=first).decrypt(token) == text
        with pytest.raises(DecryptionFailed):
            other.decrypt(token)
        with pytest.raises(DecryptionFailed):
            other.rotate(token)


class TestRotation:
    @unhurried
    @given(text=ANY_TEXT)
    def test_a_rotated_token_needs_the_old_key_no_more(self, text: str) -> None:
        token = BEFORE.encrypt(text)
        assert BOTH.decrypt(token) == text
        rotated = BOTH.rotate(token)
        assert AFTER.decrypt(rotated) == text
        with pytest.raises(DecryptionFailed):
            AFTER.decrypt(token)
        with pytest.raises(DecryptionFailed):
            BEFORE.decrypt(rotated)

    @unhurried
    @given(
        keys=st.lists(st.text("abcdefgh", min_size=32, max_size=40), min_size=1, max_size=5, unique=True),
        data=st.data(),
    )
    def test_the_first_encrypts_and_every_one_decrypts(self, keys: list[str], data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(keys) - 1))
        ring = DataEncryptor(keys)
        assert ring.decrypt(DataEncryptor([keys[at]]).encrypt("word")) == "word"
        assert DataEncryptor([keys[0]]).decrypt(ring.encrypt("word")) == "word"
        assert ring.key_ids == tuple(DataEncryptor([key]).key_id for key in keys)

    def test_it_keeps_the_time_of_writing(self) -> None:
        token = BEFORE.encrypt("word")
        assert urlsafe_b64decode(BOTH.rotate(token))[1:9] == urlsafe_b64decode(token)[1:9]


class TestKeys:
    @each_case("keys", [[], "one text of thirty-two bytes or more", ["short"], [NEW, "ä" * 15]])
    def test_unusable_ones_are_refused_without_being_shown(self, keys: list[str]) -> None:
        with pytest.raises(ConfigurationError, match="ENCRYPTION_KEYS") as caught:
            DataEncryptor(keys)
        assert not any(key in str(caught.value) for key in keys if len(key) > 1)

    def test_they_stay_inside(self) -> None:
        assert repr(BOTH) == "<DataEncryptor for '' with 2 keys>"
        for act in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError):
                act(BOTH)

    def test_without_arguments_those_of_the_process_are_used(self, keys: list[str]) -> None:
        assert DataEncryptor(keys).decrypt(DataEncryptor().encrypt("word")) == "word"
        configure_encryption([NEW, *keys])
        assert DataEncryptor().key_ids == DataEncryptor([NEW, *keys]).key_ids

    @pytest.mark.parametrize("nothing", [None, []])
    def test_without_any_it_says_what_to_set(self, keys: list[str], nothing: Any) -> None:
        configure_encryption(nothing)
        with pytest.raises(ConfigurationError, match="ENCRYPTION_KEYS"):
            DataEncryptor()


def test_operations_are_counted_and_timed() -> None:
    acts: dict[str, Any] = {"encrypt": BOTH.encrypt, "decrypt": BOTH.decrypt, "rotate": BOTH.rotate}
    for operation, act in acts.items():
        before = count(operation, "ok")
        act(TOKEN)
        assert count(operation, "ok") == before + 1
    before = count("decrypt", "failed")
    with pytest.raises(DecryptionFailed):
        BOTH.decrypt("nonsense")
    assert count("decrypt", "failed") == before + 1
    assert REGISTRY.get_sample_value("gatehouse_encryption_seconds_count", {"operation": "rotate"})
