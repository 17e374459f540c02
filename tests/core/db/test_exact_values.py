"""Values mean what they say: nothing is cut, rounded or taken for another on its way to the server."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import MetaData, Numeric, String, TypeDecorator, insert, literal_column, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.core.db import (
    AsyncBaseRepository,
    BulkOperations,
    CursorSigner,
    FilterGrammar,
    InvalidFieldValue,
    InvalidValue,
    Where,
)
from tests.staff import Badge, Person

SIGNER = CursorSigner(["a secret of these tests, thirty-two bytes"])


class Shelf(DeclarativeBase):
    metadata = MetaData(schema="shelf")


class Lower(TypeDecorator[str]):
    impl = String(5)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.lower()


class Code(Shelf):
    __tablename__ = "codes"
    code: Mapped[str] = mapped_column(String(5), primary_key=True)
    lower: Mapped[str | None] = mapped_column(Lower())
    words: Mapped[list[str] | None] = mapped_column(ARRAY(String(5)))
    price: Mapped[Decimal | None] = mapped_column(Numeric(8, 2))


@pytest.fixture
async def codes(db_session: AsyncSession) -> AsyncBaseRepository[Code]:
    await db_session.execute(text("CREATE SCHEMA shelf"))
    await (await db_session.connection()).run_sync(Shelf.metadata.create_all)
    codes = AsyncBaseRepository(Code, db_session)
    await codes.create({"code": "abcde", "lower": "ab", "words": ["ab"], "price": Decimal("1.56")})
    return codes


@pytest.mark.parametrize("change", [{"lower": "ABCDEF"}, {"price": Decimal("1e6")}])
async def test_a_value_that_is_too_long_is_refused_in_a_bulk_update_as_in_any_other(
    codes: AsyncBaseRepository[Code], change: dict[str, Any]
) -> None:
    row = {"code": "abcde", **change}
    for update in (
        lambda: codes.update("abcde", change),
        lambda: codes.bulk_update([row]),
        lambda: BulkOperations.bulk_update(codes.session, Code, [row]),
    ):
        point = await codes.session.begin_nested()
        with pytest.raises(InvalidValue):
            await update()
        await point.rollback()
    assert await codes.bulk_update([{"code": "abcde", "lower": "XYZ", "words": ["abcde"]}]) == 1
    stored = (await codes.session.execute(select(Code.lower, Code.words))).one()
    assert stored == ("xyz", ["abcde"])


async def test_a_key_that_only_begins_like_another_is_another(codes: AsyncBaseRepository[Code]) -> None:
    assert await codes.bulk_update([{"code": "abcdefgh", "lower": "no"}]) == 0
    assert await codes.bulk_delete(["abcdefgh"]) == 0
    assert await codes.count({"code__in": ["abcdefgh"]}) == 0
    await codes.bulk_update([{"code": "abcde", "words": ["abcde"]}])
    assert await codes.count({"words": "abcdef"}) == 0
    assert await codes.count({"words__has_any": ["abcdef"]}) == 0
    assert await codes.bulk_delete(["abcde"]) == 1


async def test_one_key_in_place_of_many_is_not_taken_for_its_letters(
    codes: AsyncBaseRepository[Code],
) -> None:
    await codes.create({"code": "a"})
    with pytest.raises(InvalidFieldValue, match="code"):
        await codes.bulk_delete("abcde")
    assert await codes.count() == 2


async def test_numbers_are_compared_as_they_are_not_as_the_column_would_round_them(
    codes: AsyncBaseRepository[Code],
) -> None:
    found = {
        key: await codes.count({key: value})
        for key, value in {
            "price": Decimal("1.555"),
            "price__in": [Decimal("1.555"), Decimal("1.5600")],
            "price__gt": Decimal("1.555"),
            "price__lt": Decimal("1.561"),
            "price__ne": Decimal("1.555"),
            "price__not_in": [Decimal("1.555")],
            "price__lte": Decimal("1e20"),
        }.items()
    }
    assert found == {"price": 0, "price__in": 1} | dict.fromkeys(list(found)[2:], 1)


async def test_rows_that_only_their_column_makes_equal_are_named_twice(
    codes: AsyncBaseRepository[Code],
) -> None:
    await codes.session.execute(text("CREATE UNIQUE INDEX ON shelf.codes (price)"))
    rows = [{"code": code, "price": Decimal(price)} for code, price in (("a", "1.501"), ("b", "1.499"))]
    with pytest.raises(InvalidFieldValue, match="'price' names a row twice"):
        await codes.bulk_upsert(rows, conflict_on=("price",))


async def test_a_list_may_have_more_values_than_a_statement_has_parameters(db: AsyncSession) -> None:
    persons = AsyncBaseRepository(Person, db)
    await persons.create({"name": "Ann"})
    many = [f"name {n}" for n in range(40_000)]
    assert await persons.count({"name": [*many, "Ann"]}) == 1
    assert await persons.count({"name__not_in": many}) == 1
    assert await persons.count({"name__not_in": [*many, "Ann"]}) == 0
    assert await persons.count(Where("name", ["Bob", literal_column("'Ann'")], "in")) == 1


async def test_true_is_more_than_false(db: AsyncSession) -> None:
    persons = AsyncBaseRepository(Person, db)
    await persons.bulk_create([{"name": str(n), "is_active": n % 2 == 0} for n in range(5)])
    grammar = FilterGrammar(Person, {"is_active": None})
    counts = {
        key: await persons.count(grammar.parse({f"is_active__{key}": value}))
        for key, value in {
            "gt": "false",
            "gte": "false",
            "lt": "true",
            "lte": "false",
            "between": "true,",
        }.items()
    }
    assert counts == {"gt": 3, "gte": 5, "lt": 2, "lte": 2, "between": 3}


@pytest.mark.parametrize(
    "order_by", ["is_active", "-is_active", "is_active,-name", "-is_active,name", "-name,is_active"]
)
async def test_a_list_may_be_followed_by_a_column_of_true_and_false(db: AsyncSession, order_by: str) -> None:
    persons = AsyncBaseRepository(Person, db, cursors=SIGNER)
    await persons.bulk_create([{"name": str(n), "is_active": n % 2 == 0} for n in range(7)])
    whole = [person.name for person in await persons.get_all(order_by=order_by)]
    assert await followed(persons, order_by) == whole


@pytest.mark.parametrize("order_by", ["given_at", "-given_at", "given_at,-id", "-given_at,rank"])
async def test_a_list_may_be_followed_past_infinity(db: AsyncSession, order_by: str) -> None:
    badges = AsyncBaseRepository(Badge, db, cursors=SIGNER)
    moments = ["infinity", "-infinity", "2026-01-01Z", None, "infinity", "2026-01-01Z", "-infinity"]
    for rank, moment in enumerate(moments):
        given = None if moment is None else text(f"'{moment}'")
        await db.execute(insert(Badge).values(rank=rank, given_at=given))
    whole = [badge.rank for badge in await badges.get_all(order_by=order_by)]
    assert await followed(badges, order_by, "rank") == whole


async def test_infinity_is_no_way_around_a_missing_zone(db: AsyncSession) -> None:
    badges = AsyncBaseRepository(Badge, db)
    with pytest.raises(InvalidFieldValue, match="timezone"):
        await badges.count({"given_at": datetime(9999, 12, 31, 23, 59, 59)})  # noqa: DTZ001 - that is what is tested
    assert await badges.count({"given_at__lt": datetime(9999, 1, 1, tzinfo=UTC)}) == 0


async def followed(repository: AsyncBaseRepository[Any], order_by: str, name: str = "name") -> list[Any]:
    """A value of every row, a page of one row after the other."""
    seen: list[Any] = []
    cursor: str | None = None
    for _ in range(20):
        page = await repository.get_cursor_page(cursor, limit=1, order_by=order_by)
        seen += [getattr(row, name) for row in page.data]
        cursor = page.next_cursor
        if cursor is None:
            break
    return seen
