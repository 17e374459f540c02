"""Orders, positions and cursors."""

import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.dialects import postgresql

from app.core.db import (
    AsyncBaseRepository,
    AsyncSession,
    CursorSigner,
    InvalidCursor,
    InvalidFieldValue,
    InvalidLimit,
    UnknownField,
    configure_cursors,
)
from app.core.db._cursor import decode_cursor, encode_cursor
from app.core.db._keyset import after, position_of
from app.core.db._sorting import parse_sort, total_order
from app.core.errors import ConfigurationError
from tests.cases import each_case
from tests.staff import Badge, Certification, Level, Person

SECRET, OTHER = "a key of the tests, thirty-two bytes or more", "another key of these tests, with 32 bytes"
SIGNER = CursorSigner([SECRET])


def order(order_by: Any, model: Any = Badge) -> tuple[Any, ...]:
    return total_order(model, parse_sort(model, order_by))


class TestSorting:
    @each_case(
        ("order_by", "meaning"),
        [
            (None, ["id"]),
            ("rank", ["rank", "id"]),
            ("-rank", ["-rank", "-id"]),
            ("rank,-text", ["rank", "-text", "-id"]),
            (" rank , id", ["rank", "id"]),
            (["-id", "rank"], ["-id", "rank"]),
        ],
    )
    def test_an_order_is_made_total_by_the_key(self, order_by: Any, meaning: list[str]) -> None:
        assert [str(key) for key in order(order_by)] == meaning

    def test_every_part_of_a_key_counts(self) -> None:
        assert [str(key) for key in order("-number", Certification)] == ["-number", "-person_id"]

    @each_case("order_by", ["nope", "", "-", "--rank", "rank,,text", "rank desc", "assignments"])
    def test_an_unknown_field_is_named(self, order_by: str) -> None:
        with pytest.raises(UnknownField):
            parse_sort(Badge, order_by)

    @each_case("order_by", ["tags", "details", "-tags"])
    def test_columns_without_an_order_are_refused(self, order_by: str) -> None:
        with pytest.raises(UnknownField):
            parse_sort(Person, order_by)

    def test_only_allowed_fields(self) -> None:
        keys = parse_sort(Person, "-name", allowed=("name",))
        assert parse_sort(Person, keys) == keys
        with pytest.raises(UnknownField, match="there are: name"):
            parse_sort(Person, "age", allowed=("name",))

    @pytest.mark.parametrize("order_by", ["rank,-rank", "id,text,rank,given_at,id,id"])
    def test_twice_or_too_many(self, order_by: str) -> None:
        with pytest.raises(InvalidFieldValue) as refusal:
            parse_sort(Badge, order_by)
        assert refusal.value.name == "order_by"


VALUES = {
    "name": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    "age": st.none() | st.integers(-(2**15), 2**15 - 1),
    "badge": st.integers(-(2**63), 2**63 - 1),
    "pay": st.none() | st.decimals("-1e9", "1e9", places=2),
    "rating": st.floats(allow_nan=False),
    "level": st.sampled_from(Level),
    "is_active": st.booleans(),
    "created_at": st.datetimes(timezones=st.just(UTC)),
}


class TestCursor:
    @given(
        names=st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=5, unique=True), data=st.data()
    )
    def test_a_position_comes_back_to_the_last_digit(self, names: list[str], data: st.DataObject) -> None:
        keys = order(names, Person)
        position = (*(data.draw(VALUES[name]) for name in names), "person-1")
        assert decode_cursor(SIGNER, Person, keys, encode_cursor(SIGNER, Person, keys, position)) == position

    def test_the_documents_types_come_back_as_they_were(self) -> None:
        keys = order("pay,rating,created_at", Person)
        position = (Decimal("0.10"), float("inf"), datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC), "a")
        back = decode_cursor(SIGNER, Person, keys, encode_cursor(SIGNER, Person, keys, position))
        assert (back, str(back[0])) == (position, "0.10")

    @given(data=st.data())
    def test_no_change_of_a_cursor_is_accepted(self, data: st.DataObject) -> None:
        text = encode_cursor(SIGNER, Badge, order("rank"), (7, UUID(int=1)))
        at = data.draw(st.integers(0, len(text) - 1))
        letter = data.draw(st.characters().filter(lambda letter: letter != text[at]))
        for changed in (
            text[:at] + letter + text[at + 1 :],
            text[:at],
            text + letter,
            text + "=",
            f" {text}",
        ):
            with pytest.raises(InvalidCursor):
                decode_cursor(SIGNER, Badge, order("rank"), changed)

    @given(text=st.text())
    def test_no_text_is_a_cursor(self, text: str) -> None:
        with pytest.raises(InvalidCursor) as refusal:
            decode_cursor(SIGNER, Badge, order("rank"), text)
        assert (refusal.value.status, refusal.value.name) == (422, "cursor")

    def test_it_serves_one_list_only(self) -> None:
        text = encode_cursor(SIGNER, Badge, order("rank"), (7, UUID(int=1)), "ann")
        assert decode_cursor(SIGNER, Badge, order("rank"), text, "ann") == (7, UUID(int=1))
        for keys, model, context in (
            (order("-rank"), Badge, "ann"),
            (order("text"), Badge, "ann"),
            (order("rank"), Badge, "bob"),
            (order("rank"), Badge, ""),
            (order("age", Person), Person, "ann"),
        ):
            with pytest.raises(InvalidCursor):
                decode_cursor(SIGNER, model, keys, text, context)

    def test_a_new_key_goes_in_front(self) -> None:
        old = encode_cursor(SIGNER, Badge, order(None), (UUID(int=1),))
        both = CursorSigner([OTHER, SECRET])
        assert decode_cursor(both, Badge, order(None), old) == (UUID(int=1),)
        with pytest.raises(InvalidCursor):
            decode_cursor(CursorSigner([OTHER]), Badge, order(None), old)
        new = encode_cursor(both, Badge, order(None), (UUID(int=1),))
        assert decode_cursor(CursorSigner([OTHER]), Badge, order(None), new) == (UUID(int=1),)

    def test_a_signer_shows_no_secret_and_takes_no_weak_one(self) -> None:
        assert SECRET not in repr(SIGNER)
        for secrets in ([], ["short"], SECRET):
            with pytest.raises(ConfigurationError):
                CursorSigner(secrets)

    def test_a_value_too_long_for_a_cursor_is_refused_when_it_is_made(self) -> None:
        with pytest.raises(InvalidFieldValue, match="too long"):
            encode_cursor(SIGNER, Badge, order("text"), ("x" * 9000, UUID(int=1)))


class TestPaging:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        rows=st.lists(
            st.fixed_dictionaries(
                {
                    "rank": st.none() | st.integers(0, 2),
                    "text": st.none() | st.sampled_from(["", "a", "B", "ä", "%"]),
                    "given_at": st.none() | st.datetimes(
                        datetime(2026, 1, 1), datetime(2026, 1, 1, 0, 0, 0, 2), timezones=st.just(UTC)  # noqa: DTZ001 - hypothesis wants it so
                    ),
                }
            ),
            max_size=12,
        ),
        order_by=st.lists(st.sampled_from(["rank", "text", "given_at", "id"]), max_size=4, unique=True),
        signs=st.lists(st.booleans(), min_size=4, max_size=4),
        limit=st.integers(1, 5),
    )  # fmt: skip
    async def test_pages_hold_every_row_once_in_the_order_of_the_whole(
        self, db: AsyncSession, rows: list[dict[str, Any]], order_by: list[str], signs: list[bool], limit: int
    ) -> None:
        badges = AsyncBaseRepository(Badge, db, cursors=SIGNER)
        async with db.begin_nested() as point:
            await badges.bulk_create(rows)
            wanted = [f"-{name}" if sign else name for name, sign in zip(order_by, signs, strict=False)]
            whole = [badge.id for badge in await badges.get_by_filters(None, order_by=wanted or None)]
            seen: list[UUID] = []
            cursor, pages = None, 0
            while True:
                page = await badges.get_cursor_page(cursor, limit=limit, order_by=wanted or None)
                seen += [badge.id for badge in page.data]
                pages += 1
                if (cursor := page.next_cursor) is None:
                    break
            assert seen == whole
            assert len(whole) == len(rows)
            assert pages == max(1, -(-len(rows) // limit))
            await point.rollback()

    @pytest.mark.parametrize("sign", ["", "-"])
    async def test_each_scope_has_pages_of_its_own(self, db: AsyncSession, sign: str) -> None:
        wards = {
            ward: AsyncBaseRepository(Person, db, scope={"ward": ward}, cursors=SIGNER) for ward in ("A", "B")
        }
        for ward, people in wards.items():
            await people.bulk_create(
                [{"name": f"{ward}{number}", "badge": number // 2} for number in range(5)]
            )
        order_by = f"{sign}badge,{sign}name"
        for ward, people in wards.items():
            first = await people.get_cursor_page(limit=3, order_by=order_by)
            rest = await people.get_cursor_page(first.next_cursor, limit=3, order_by=order_by)
            names = [person.name for person in (*first.data, *rest.data)]
            assert names == sorted((f"{ward}{number}" for number in range(5)), reverse=bool(sign))
            assert (len(first.data), rest.next_cursor) == (3, None)

    async def test_rows_that_come_meanwhile_shift_nothing(self, db: AsyncSession) -> None:
        badges = AsyncBaseRepository(Badge, db, cursors=SIGNER)
        await badges.bulk_create([{"rank": number} for number in random.sample(range(0, 100, 10), 10)])
        first = await badges.get_cursor_page(limit=3, order_by="-rank")
        await badges.create({"rank": 95})
        assert await badges.delete(first.data[2].id)
        second = await badges.get_cursor_page(first.next_cursor, limit=3, order_by="-rank")
        assert [badge.rank for badge in (*first.data, *second.data)] == [90, 80, 70, 60, 50, 40]
        assert second.has_next

    async def test_filters_apply_to_every_page(self, db: AsyncSession) -> None:
        badges = AsyncBaseRepository(Badge, db, cursors=SIGNER)
        await badges.bulk_create(
            [{"rank": number, "text": "even" if number % 2 == 0 else "odd"} for number in range(10)]
        )
        page = await badges.get_cursor_page(limit=3, order_by="rank", filters={"text": "odd"})
        page = await badges.get_cursor_page(
            page.next_cursor, limit=3, order_by="rank", filters={"text": "odd"}
        )
        assert ([badge.rank for badge in page.data], page.next_cursor) == ([7, 9], None)

    @pytest.mark.parametrize("limit", [0, -1, 1001, True, "5"])
    async def test_a_limit_out_of_range_is_named(self, db: AsyncSession, limit: Any) -> None:
        with pytest.raises(InvalidLimit) as refusal:
            await AsyncBaseRepository(Badge, db, cursors=SIGNER).get_cursor_page(limit=limit)
        assert refusal.value.name == "limit"

    async def test_the_process_has_a_signer_when_a_door_named_one(self, db: AsyncSession) -> None:
        badges = AsyncBaseRepository(Badge, db)
        await badges.bulk_create([{"rank": 1}, {"rank": 2}])
        configure_cursors(None)
        with pytest.raises(ConfigurationError, match="configure_cursors"):
            await badges.get_cursor_page(limit=1)
        configure_cursors(SIGNER)
        try:
            page = await badges.get_cursor_page(limit=1, order_by="rank")
            assert [
                badge.rank for badge in (await badges.get_cursor_page(page.next_cursor, order_by="rank")).data
            ] == [2]
        finally:
            configure_cursors(None)


class TestCost:
    @pytest.mark.parametrize(
        ("order_by", "bound"),
        [
            ("-badge", "(ROW(badge, id) < ROW("),
            ("badge", "(ROW(badge, id) > ROW("),
            ("badge,-created_at", "(badge >= "),
            ("-age,rating", "(age <= "),
        ],
    )
    async def test_a_deep_page_is_found_in_the_index(
        self, db: AsyncSession, order_by: str, bound: str
    ) -> None:
        """The rows before it are not read: the position is a condition of the index scan, and nothing is sorted."""
        for columns in ("badge, id", "badge, created_at DESC, id DESC", "age DESC, rating, id"):
            await db.execute(text(f"CREATE INDEX ON staff.persons ({columns})"))
        row = "n::text, 'A', n::text, 'R', true, n, n, n, 'JUNIOR', 1"
        await db.execute(
            text(
                "INSERT INTO staff.persons (id, ward, name, role, is_active, age, badge, rating, level, version)"
                f" SELECT {row} FROM generate_series(1, 5000) n"
            )
        )
        await db.execute(text("ANALYZE staff.persons"))
        people, keys = AsyncBaseRepository(Person, db, cursors=SIGNER), order(order_by, Person)
        page = await people.get_cursor_page(limit=1000, order_by=order_by)
        page = await people.get_cursor_page(page.next_cursor, limit=1000, order_by=order_by)
        position = after(keys, position_of(page.data[-1], keys))
        statement = select(Person).where(position).order_by(*(key.clause() for key in keys)).limit(20)
        sql = statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]
        plan = "\n".join((await db.scalars(text(f"EXPLAIN {sql}".replace(":", "\\:")))).all())
        assert bound in plan.partition("Index Cond: ")[2].partition("\n")[0]
        assert "Sort" not in plan
