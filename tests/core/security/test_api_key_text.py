from uuid import UUID, uuid4
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.security import InvalidApiKey, api_key_hash, new_api_key, read_api_key

OWNER, SECRET = uuid4(), uuid4()
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def checked(head: str) -> str:
    """``head`` with its right checksum, as anybody can make it."""
    number, digits = crc32(head.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return head + digits


def refused(text: str) -> str:
    with pytest.raises(InvalidApiKey) as refusal:
        read_api_key(text)
    return refusal.value.reason


@settings(max_examples=40)
@given(st.uuids(), st.uuids())
def test_what_was_made_is_read(owner: UUID, secret_id: UUID) -> None:
    text = new_api_key(owner, secret_id)
    assert len(text) == 98
    assert read_api_key(text) == (owner, secret_id)
    assert checked(text[:-6]) == text


def test_two_keys_of_one_id_differ_in_more_than_they_share() -> None:
    one, two = (new_api_key(OWNER, SECRET) for _ in range(2))
    assert one[:49] == two[:49]
    assert one[49:] != two[49:]
    assert api_key_hash(one) != api_key_hash(two)


@settings(max_examples=40)
@given(st.integers(0, 97), st.characters())
def test_one_changed_character_is_refused(at: int, char: str) -> None:
    text = new_api_key(OWNER, SECRET)
    changed = text[:at] + char + text[at + 1 :]
    if changed != text:
        assert refused(changed) == "format"


@settings(max_examples=40)
@given(st.text(max_size=120))
def test_any_other_text_is_refused(text: str) -> None:
    assert refused(text) == "format"
    assert refused(f"sk_{text}") == "format"


@settings(max_examples=40)
@given(st.text(ALPHABET, min_size=22, max_size=22), st.text(ALPHABET, min_size=22, max_size=22))
def test_with_a_right_checksum_ids_beyond_128_bits_are_refused_and_all_others_read(
    one: str, two: str
) -> None:
    text = checked(f"sk_{one}_{two}_{'A' * 43}")
    largest = "7n42DGM5Tflk9n8mt7Fhc7"
    if one <= largest and two <= largest:
        assert len(read_api_key(text)) == 2
    else:
        assert refused(text) == "format"


@pytest.mark.parametrize(
    "change", [str.lower, str.upper, lambda key: f"{key} ", lambda key: f"\n{key}", lambda key: key + "\n"]
)
def test_other_spellings_are_refused(change: "type[str]") -> None:
    assert refused(change(new_api_key(OWNER, SECRET))) == "format"


def test_a_text_that_is_not_ascii_has_no_hash() -> None:
    with pytest.raises(InvalidApiKey):
        api_key_hash("sk_\u00e9")
    with pytest.raises(InvalidApiKey):
        api_key_hash("sk_\ud800")
