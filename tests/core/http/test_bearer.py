"""Reading Authorization."""

import pytest

from app.core.errors import BadRequest
from app.core.http._bearer import authorization, bearer_token, presented
from tests.cases import each_case


def test_no_field_is_none_and_one_is_its_value() -> None:
    assert authorization([(b"host", b"x")]) is None
    assert authorization([(b"host", b"x"), (b"authorization", b"Bearer t")]) == b"Bearer t"


def test_two_fields_are_refused_even_when_they_are_equal() -> None:
    with pytest.raises(BadRequest, match="More than one"):
        authorization([(b"authorization", b"Bearer t"), (b"authorization", b"Bearer t")])


def test_a_key_may_stand_in_a_field_of_its_own() -> None:
    assert presented([(b"host", b"x")]) == (None, None)
    assert presented([(b"host", b"x"), (b"x-api-key", b"k")]) == (None, b"k")
    assert presented([(b"authorization", b"Bearer t"), (b"x-api-key", b"k")]) == (b"Bearer t", b"k")


@each_case(("name", "said"), [(b"authorization", "Authorization"), (b"x-api-key", "X-API-Key")])
def test_two_of_either_are_refused(name: bytes, said: str) -> None:
    with pytest.raises(BadRequest, match=f"More than one {said}"):
        presented([(name, b"x"), (name, b"x")])


@each_case(
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
