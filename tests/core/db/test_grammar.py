from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.db import (
    AsyncBaseRepository,
    AsyncSession,
    FilterGrammar,
    InvalidFieldValue,
    InvalidLimit,
    QueryRefused,
    UnknownField,
    UnknownOperator,
    Where,
)
from app.core.errors import ConfigurationError
from tests.cases import each_case
from tests.staff import Level, Person

GRAMMAR = FilterGrammar(
    Person,
    {
        "name": ("eq", "contains", "in"),
        "age": None,
        "created_at": ("gte", "lt"),
        "pay": None,
        "is_active": ("eq",),
        "level": None,
        "tags": ("has", "has_any"),
        "details": ("is_null",),
    },
    max_filters=3,
    max_length=40,
)


@each_case(
    ("key", "text", "meaning"),
    [
        ("name", "a,b", Where("name", "a,b")),
        ("name__contains", "50%", Where("name", "50%", "contains")),
        ("name__in", "a,b", Where("name", ("a", "b"), "in")),
        ("name", "a" * 40, Where("name", "a" * 40)),
        ("age__gte", "18", Where("age", 18, "gte")),
        ("age__between", "18,", Where("age", (18, None), "between")),
        ("age__is_null", "TRUE", Where("age", value=True, operator="is_null")),
        ("pay", "1.10", Where("pay", Decimal("1.10"))),
        ("is_active", "false", Where("is_active", value=False)),
        ("level", "senior", Where("level", Level.SENIOR)),
        ("tags__has", "x", Where("tags", "x", "has")),
        ("created_at__lt", "2026-01-02T03:04:05Z",
         Where("created_at", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "lt")),
    ],
)  # fmt: skip
def test_a_parameter_is_a_comparison(key: str, text: str, meaning: Where) -> None:
    assert GRAMMAR.parse({key: text}) == (meaning,)


def test_parameters_that_are_no_filters_are_left_alone() -> None:
    parsed = GRAMMAR.parse([("limit", "5"), ("name", "a"), ("cursor", "x"), ("name", "b")])
    assert parsed == (Where("name", "a"), Where("name", "b"))


@each_case(
    ("key", "text", "error"),
    [
        ("email", "a", UnknownField),
        ("emial__eq", "a", UnknownField),
        ("", "a", UnknownField),
        ("__eq", "a", UnknownField),
        ("name__endswith", "a", UnknownOperator),
        ("name__", "a", UnknownOperator),
        ("created_at", "2026-01-02T03:04:05Z", UnknownOperator),
        ("age__gte", "old", InvalidFieldValue),
        ("age__gte", "99999", InvalidFieldValue),
        ("age__gte", "", InvalidFieldValue),
        ("age__between", "1", InvalidFieldValue),
        ("age__in", "1,x", InvalidFieldValue),
        ("age__in", ",".join(["1"] * 15) + ",x", InvalidFieldValue),
        ("age__is_null", "maybe", InvalidFieldValue),
        ("created_at__gte", "2026-01-02T03:04:05", InvalidFieldValue),
        ("name", "a" * 41, InvalidFieldValue),
        ("name", "a\0", InvalidFieldValue),
        ("level", "SENIOR!", InvalidFieldValue),
    ],
)
def test_anything_else_is_422_by_the_parameters_name(key: str, text: str, error: type[QueryRefused]) -> None:
    with pytest.raises(error) as refusal:
        GRAMMAR.parse({key: text})
    assert (refusal.value.status, refusal.value.name) == (422, key)
    assert refusal.value.detail is not None
    assert refusal.value.detail.startswith(f"{key!r} ")


def test_too_many_at_once_are_refused() -> None:
    with pytest.raises(InvalidLimit, match="at most 3"):
        GRAMMAR.parse([("name", "a")] * 4)


def test_too_many_values_are_refused() -> None:
    grammar = FilterGrammar(Person, {"age": ("in",)})
    assert len(grammar.parse({"age__in": ",".join(["1"] * 100)})[0].value) == 100
    with pytest.raises(InvalidFieldValue, match="at most 100"):
        grammar.parse({"age__in": ",".join(["1"] * 101)})


@each_case(
    "allowed", [{"nmae": None}, {"name": ("gtt",)}, {"name": ()}, {"age": ("contains",)}, {"name": "eq"}]
)
def test_a_wrong_list_stops_the_start(allowed: Any) -> None:
    with pytest.raises(ConfigurationError):
        FilterGrammar(Person, allowed)


@each_case("limits", [{"max_filters": 0}, {"max_length": 0}, {"max_filters": -1}])
def test_a_limit_that_lets_nothing_through_stops_the_start(limits: Any) -> None:
    with pytest.raises(ConfigurationError, match="1 or more"):
        FilterGrammar(Person, {"name": None}, **limits)


def test_the_least_limits_let_one_through() -> None:
    assert FilterGrammar(Person, {"name": None}, max_filters=1, max_length=1).parse({"name": "a"})


def test_a_value_that_does_not_fit_is_told_under_the_name_that_was_written() -> None:
    with pytest.raises(InvalidFieldValue) as refusal:
        GRAMMAR.parse({"age__gte": "x"})
    assert (refusal.value.name, refusal.value.message.partition(":")[0]) == (
        "age__gte",
        "has a value that does not fit",
    )
    assert refusal.value.detail == f"'age__gte' {refusal.value.message}"


@given(key=st.text(max_size=30), text=st.text(max_size=60))
def test_no_text_does_more_than_be_refused(key: str, text: str) -> None:
    for name in (key, *(f"{field}__{key}" for field in ("name", "age")), "age", "pay", "created_at__gte"):
        try:
            filters = GRAMMAR.parse({name: text})
        except QueryRefused as refusal:
            assert refusal.name == name[:100].encode(errors="replace").decode()  # noqa: PT017 - or it is accepted
        else:
            for each in filters:
                each.criterion(Person)


async def test_what_is_parsed_finds(db: AsyncSession) -> None:
    people = AsyncBaseRepository(Person, db)
    await people.bulk_create([{"name": "Ann", "age": 30}, {"name": "100%", "age": 40}])
    found = await people.get_by_filters(GRAMMAR.parse({"name__contains": "%", "age__gt": "30"}))
    assert [person.name for person in found] == ["100%"]
