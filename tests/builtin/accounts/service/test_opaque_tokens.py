"""Opaque tokens and how they are looked up."""

import re

from app.builtin.accounts.service.opaque_tokens import hash_of, new_token


def test_a_token_is_256_random_bits_after_its_prefix() -> None:
    one, other = new_token("rt_"), new_token("rt_")
    assert one != other
    assert re.fullmatch(r"rt_[\w-]{43}", one)


def test_any_text_has_a_hash_of_its_own() -> None:
    texts = ("", "rt_a", "rt_b", "\ud800", "\x00")
    assert len({hash_of(text) for text in texts}) == len(texts)
    assert {len(hash_of(text)) for text in texts} == {32}
