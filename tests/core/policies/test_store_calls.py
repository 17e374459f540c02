import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.policies._store_calls import integers
from app.core.valkey import StoreError
from tests.cases import each_case


@given(st.lists(st.integers(-(2**63), 2**64 - 1)))
def test_numbers_are_read_as_they_were_written(numbers: list[int]) -> None:
    assert integers(" ".join(map(str, numbers)).encode()) == numbers


@each_case(
    "reply", [b"1.5", b"1e5", b"nan", b"-", b"1  2", b" 1", b"01", b"[1]", b"1,2", b"null", b'"1"', b"\xff"]
)
def test_what_is_no_whole_number_is_an_error_of_the_store(reply: bytes) -> None:
    with pytest.raises(StoreError, match="not made of whole numbers"):
        integers(reply)
