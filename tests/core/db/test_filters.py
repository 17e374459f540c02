from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import (
    AllOf,
    AnyOf,
    AsyncBaseRepository,
    Between,
    Filter,
    InvalidFieldValue,
    Not,
    QueryRefused,
    Search,
    UnknownField,
    UnknownOperator,
    Where,
)
from app.core.db._filters import to_filter
from app.core.db._operators import OPERATORS, escape_like
from tests.cases import each_case
from tests.staff import Level, Person

PEOPLE: tuple[dict[str, Any], ...] = (
    {"name": "Ann", "age": 30, "pay": Decimal("10.50"), "tags": ["x", "y"], "email": "ann@example.com"},
    {"name": "Bob_%", "age": None, "level": Level.SENIOR, "role": "FACULTY", "tags": ["y"]},
    {"name": "cä\\rl", "age": 50, "is_active": False, "email": "ANN@example.org"},
)


@pytest.fixture
async def people(db: AsyncSession) -> AsyncBaseRepository[Person]:
    people = AsyncBaseRepository(Person, db)
    await people.bulk_create(PEOPLE)
    return people


async def names(people: AsyncBaseRepository[Person], filters: Any) -> str:
    """The first letters of those who were found."""
    return "".join(person.name[0] for person in await people.get_by_filters(filters, order_by="name")).lower()


class TestOperators:
    @pytest.mark.parametrize(
        ("filters", "found"),
        [
            (None, "abc"),
            ({}, "abc"),
            ({"name": "Ann"}, "a"),
            ({"name__eq": "Ann", "age": 30}, "a"),
            ({"name": "Ann", "age": 31}, ""),
            ({"name__ne": "Ann"}, "bc"),
            ({"age__ne": 30}, "bc"),
            ({"age": None}, "b"),
            ({"age__eq": None}, "b"),
            ({"age__ne": None}, "ac"),
            ({"age__is_null": True}, "b"),
            ({"age__is_null": False}, "ac"),
            ({"age__gt": 30}, "c"),
            ({"age__gte": 30, "age__lt": 50}, "a"),
            ({"age__lte": 50}, "ac"),
            ({"age__between": (30, 49)}, "a"),
            ({"age__in": [30, 50, 51]}, "ac"),
            ({"age__in": []}, ""),
            ({"age__not_in": [30]}, "bc"),
            ({"age__not_in": []}, "abc"),
            ({"age": [30, 50]}, "ac"),
            ({"pay": Decimal("10.5")}, "a"),
            ({"level": Level.SENIOR}, "b"),
            ({"level": "senior"}, "b"),
            ({"is_active": False}, "c"),
            ({"name__contains": "_%"}, "b"),
            ({"name__contains": "\\"}, "c"),
            ({"name__contains": "a"}, ""),
            ({"name__icontains": "A"}, "a"),
            ({"name__startswith": "Bob_"}, "b"),
            ({"name__istartswith": "bOB"}, "b"),
            ({"name__endswith": "%"}, "b"),
            ({"name__iendswith": "RL"}, "c"),
            ({"name__iexact": "aNN"}, "a"),
            ({"tags__has": "y"}, "ab"),
            ({"tags": "x"}, "a"),
            ({"tags__has_any": ["x", "z"]}, "a"),
            ({"tags__has_all": ["x", "y"]}, "a"),
            (Between("age", 31), "c"),
            (Between("age", upper=31), "a"),
            (Between("age"), "abc"),
            (Search("ann", ("name", "email")), "ac"),
            (Search("  ", ("name",)), "abc"),
            (Not(Where("age", 30)), "bc"),
            (AnyOf((Where("name", "Ann"), Where("role", "FACULTY"))), "ab"),
            (AllOf((Where("name", "Ann"), Where("role", "FACULTY"))), ""),
            ([Where("age", 20, "gt"), Where("is_active", value=True)], "a"),
        ],
    )
    async def test_a_filter_finds_counts_and_asks_for_the_same_rows(
        self, people: AsyncBaseRepository[Person], filters: Any, found: str
    ) -> None:
        assert await names(people, filters) == found
        assert await people.count(filters) == len(found)
        assert await people.exists(filters) is bool(found)

    def test_every_operator_is_shown_above(self) -> None:
        shown = {
            mark
            for case in self.test_a_filter_finds_counts_and_asks_for_the_same_rows.pytestmark[0].args[1]
            for mark in str(case).split("'")
        }
        assert {name for name in OPERATORS if not any(mark.endswith(f"__{name}") for mark in shown)} == set()

    async def test_a_time_is_compared_as_an_instant(self, people: AsyncBaseRepository[Person]) -> None:
        assert await names(people, {"created_at__lt": datetime(2000, 1, 1, tzinfo=UTC)}) == ""
        assert await names(people, {"created_at__gte": datetime(2000, 1, 1, tzinfo=UTC)}) == "abc"


class TestRefusals:
    @each_case(
        ("filters", "error", "name"),
        [
            ({"nmae": 1}, UnknownField, "nmae"),
            ({"__dict__": 1}, UnknownField, "__dict__"),
            ({"metadata": 1}, UnknownField, "metadata"),
            ({"assignments": 1}, UnknownField, "assignments"),
            ({"name__like": "%"}, UnknownOperator, "name__like"),
            ({"name__": "a"}, UnknownOperator, "name__"),
            ({"age__contains": "1"}, UnknownOperator, "age__contains"),
            ({"details": {}}, UnknownOperator, "details__eq"),
            ({"details__gt": 1}, UnknownOperator, "details__gt"),
            ({"tags__gt": "a"}, UnknownOperator, "tags__gt"),
            ({"age": "old"}, InvalidFieldValue, "age"),
            ({"age": 32768}, InvalidFieldValue, "age"),
            ({"badge": 2**63}, InvalidFieldValue, "badge"),
            ({"name": "a\0"}, InvalidFieldValue, "name"),
            ({"name__contains": "\ud800"}, InvalidFieldValue, "name"),
            ({"name__contains": None}, InvalidFieldValue, "name__contains"),
            ({"age__in": "12"}, InvalidFieldValue, "age__in"),
            ({"age__in": [None]}, InvalidFieldValue, "age__in"),
            ({"age__between": (1,)}, InvalidFieldValue, "age__between"),
            ({"age__is_null": "yes"}, InvalidFieldValue, "age__is_null"),
            ({"created_at__gt": datetime(2020, 1, 1)}, InvalidFieldValue, "created_at"),  # noqa: DTZ001 - that is the point
            ({"level": "boss"}, InvalidFieldValue, "level"),
            (Search("a", ()), InvalidFieldValue, "search"),
            (Search("", ("nmae",)), UnknownField, "nmae"),
            (Search("1", ("age",)), UnknownOperator, "age__icontains"),
            (AnyOf(()), InvalidFieldValue, "filters"),
        ],
    )
    def test_what_makes_no_sense_is_422_by_name(
        self, filters: Any, error: type[QueryRefused], name: str
    ) -> None:
        with pytest.raises(error) as refusal:
            AllOf(to_filter(Person, filters).filters).criterion(Person)
        assert refusal.value.status == 422
        assert refusal.value.name == name
        assert refusal.value.extensions["errors"][0]["loc"] == [name]

    def test_values_are_not_repeated(self) -> None:
        with pytest.raises(InvalidFieldValue) as refusal:
            to_filter(Person, {"age": "hunter2-secret"}).criterion(Person)
        assert "hunter2" not in f"{refusal.value} {refusal.value.extensions}"

    def test_a_name_without_end_is_cut(self) -> None:
        with pytest.raises(UnknownField) as refusal:
            to_filter(Person, {"x" * 10_000: 1})
        assert len(refusal.value.name) == 100


def compiled(filters: Filter) -> tuple[str, dict[str, Any]]:
    statement = select(Person.id).where(filters.criterion(Person)).compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    return str(statement), dict(statement.params)


class TestProperties:
    @settings(deadline=None)  # a busy machine is no failure
    @given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
    def test_a_value_never_gets_into_the_sql(self, text: str) -> None:
        for operator in ("eq", "contains", "istartswith", "in"):
            value: Any = [text] if operator == "in" else text
            sql, parameters = compiled(Where("name", value, operator))
            assert sql == compiled(Where("name", ["a"] if operator == "in" else "a", operator))[0]
            if operator == "in":
                assert list(parameters.values()) == [[text]]
            elif operator == "eq":
                assert list(parameters.values()) == [text]

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    async def test_like_means_what_python_means(
        self, people: AsyncBaseRepository[Person], data: st.DataObject
    ) -> None:
        letters = st.text(st.sampled_from("aB%_\\'é"), max_size=4)
        name, part = data.draw(letters), data.draw(letters)
        await people.update(await people.get_one((await people.get_all())[0].id), {"name": name})
        expected = {
            "contains": part in name,
            "startswith": name.startswith(part),
            "endswith": name.endswith(part),
            "icontains": part.lower() in name.lower(),
            "istartswith": name.lower().startswith(part.lower()),
            "iendswith": name.lower().endswith(part.lower()),
            "iexact": name.lower() == part.lower(),
        }
        for operator, is_found in expected.items():
            found = await people.exists({"name": name, f"name__{operator}": part})
            assert found is is_found, (operator, name, part)

    @given(text=st.text())
    def test_escaping_can_be_undone(self, text: str) -> None:
        escaped, plain, position = escape_like(text), "", 0
        while position < len(escaped):
            position += escaped[position] == "\\"
            plain += escaped[position]
            position += 1
        assert plain == text

    def test_filters_are_values(self) -> None:
        assert Where("name", "a") == Where("name", "a")
        assert len({Search("a", ("name",)), Search("a", ("name",)), Between("age", 1)}) == 2
        with pytest.raises(AttributeError):
            Where("name", "a").field = "role"  # type: ignore[misc]
