"""What is kept comes back as it was, type by type; what has no such form is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import orjson
import pytest
from asyncpg.pgproto import pgproto
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from sqlalchemy import inspect
from sqlalchemy.engine import result_tuple
from sqlalchemy.orm.exc import DetachedInstanceError

from app.core.db._query_keys import digest
from app.core.db._query_values import pack, unpack
from app.core.errors import ConfigurationError
from tests.cases import each_case
from tests.staff import Badge, Level, Person, Template

ID = UUID("01a1ff25-e9db-77be-98d0-0123456789ab")
unhurried = limits(deadline=None)  # a busy machine is no failure
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# The second of two equal wall clock times (fold) is nothing that a database knows.
times = st.times().map(lambda one: one.replace(fold=0))
moments = st.datetimes(timezones=st.just(UTC)).map(lambda one: one.replace(fold=0))
days = st.datetimes().map(lambda one: one.replace(fold=0))
plain = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.binary(max_size=20) | st.uuids()
    | st.decimals(allow_nan=False) | st.dates() | times | moments | days
    | st.timedeltas() | st.sampled_from(Level)
)  # fmt: skip
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(plain, inner, max_size=4)
        | st.frozensets(plain, max_size=4)
    ),
    max_leaves=12,
)


def shape(value: Any) -> Any:
    """The value with its types, so that True is not 1 and -0.0 is not 0.0."""
    return digest(value)


@unhurried
@given(values)
def test_a_value_survives_storage(value: Any) -> None:
    again = unpack(orjson.loads(orjson.dumps(pack(value))))
    assert again == value
    assert shape(again) == shape(value)


@unhurried
@given(values, values)
def test_different_values_make_different_keys(one: Any, other: Any) -> None:
    if type(one) is not type(other) or one != other:
        assert digest(one) != digest(other)
    assert digest(one, other) != digest([one, other])


@each_case(
    ("one", "other"),
    [(1, True), (1, 1.0), ("1", 1), (["a", "b"], ["ab"]), (["a", ["b"]], [["a"], "b"]), ({}, [])],
)
def test_equal_looks_are_no_equal_keys(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)


def test_the_order_of_a_dict_is_no_part_of_the_key() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_a_row_keeps_its_names() -> None:
    row = result_tuple(["id", "name"])((1, "Ann"))
    again = unpack(pack([row]))[0]
    assert (again.id, again.name, again._asdict()) == (1, "Ann", {"id": 1, "name": "Ann"})


def test_an_object_has_only_what_was_loaded() -> None:
    again = unpack(pack(Person(id="ann", name="Ann", level=Level.SENIOR)))
    assert (again.id, again.name, again.level) == ("ann", "Ann", Level.SENIOR)
    assert "email" not in vars(again)
    with pytest.raises(DetachedInstanceError):
        _ = again.email


def test_an_object_with_all_columns_is_a_detached_row() -> None:
    badge = Badge(id=uuid4(), text="x", rank=None, given_at=datetime(2026, 1, 2, tzinfo=UTC))
    again = unpack(pack(badge))
    state = inspect(again)
    assert (again.id, again.text, again.rank, again.given_at) == (badge.id, "x", None, badge.given_at)
    assert (state.detached, state.modified, state.identity) == (True, False, (badge.id,))
    again.rank = 5
    assert state.attrs.rank.history.added == [5]


def test_a_relationship_does_not_come_back() -> None:
    template = Template(id=1, title="x")
    again = unpack(pack(template))
    with pytest.raises(DetachedInstanceError):
        _ = again.assignments


def test_infinite_numbers_survive() -> None:
    infinite, nan = unpack(orjson.loads(orjson.dumps(pack([float("inf"), float("nan")]))))
    assert infinite == float("inf")
    assert nan != nan  # noqa: PLR0124 - what NaN is


class Two(NamedTuple):
    """A tuple of its own kind."""

    a: int
    b: int


class Own:
    """Of no kind that is known."""


@each_case("value", [Own(), Own, lambda: None, Two(1, 2), Person])
def test_what_has_no_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be kept"):
        pack([value])


@each_case("value", [Own(), Person(id="ann")])
def test_what_makes_no_key_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="key_fn"):
        digest(value)


@each_case(
    "stored",
    [
        {"other": 1},
        {"uuid": "x"},
        {"enum": ["os", "sep", "X"]},
        {"enum": ["no.such.module", "X", "Y"]},
        {"enum": [Level.__module__, "Level", "GONE"]},
        {"entity": ["os", "path", {}]},
        {"entity": [Person.__module__, "Person", {"id": "x", "gone": 1}]},
        {"a": 1, "b": 2},
    ],
)
def test_what_another_version_stored_is_an_error_that_callers_know(stored: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(stored)


def test_the_drivers_uuid_is_a_uuid() -> None:
    theirs, ours = pgproto.UUID(str(ID)), ID
    assert unpack(pack([theirs])) == [ours]
    assert digest(theirs) == digest(ours)


def test_a_day_is_a_day() -> None:
    assert unpack(pack(timedelta(days=-1, microseconds=3))) == timedelta(days=-1, microseconds=3)
