"""Reading Authorization."""

import pytest

from app.core.errors import BadRequest
from app.core.http._bearer import authorization, bearer_token


def test_no_field_is_none_and_one_is_its_value() -> None:
    assert authorization([(b"host", b"x")]) is None
    assert authorization([(b"host", b"x"), (b"authorization", b"Bearer t")]) == b"Bearer t"


def test_two_fields_are_refused_even_when_they_are_equal() -> None:
    with pytest.raises(BadRequest, match="More than one"):
        authorization([(b"authorization", b"Bearer t"), (b"authorization", b"Bearer t")])


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (b"Bearer t", "t"),
        (b"bearer  t ", "t"),
        (b"BEARER t", "t"),
        (b"Bearer", ""),
        (b"Bearer \xff", "\xff"),
        (b"Basic dXNlcg==", None),
        (b"Bearert", None),
        (b"", None),
    ],
)
def test_a_bearer_token_is_what_stands_behind_the_scheme_whatever_its_case(
    value: bytes, token: str | None
) -> None:
    assert bearer_token(value) == token
