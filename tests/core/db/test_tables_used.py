from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    ForeignKey,
    MetaData,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    table,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    aliased,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)
from sqlalchemy.schema import CreateTable

from app.core.db import TablesUsed, _tables_parsed, tables_used
from tests.cases import each_case
from tests.nursery import run_program


class Own(DeclarativeBase):
    """Tables that no database has."""


class Parent(Own):
    __tablename__ = "parents"
    id: Mapped[int] = mapped_column(primary_key=True)
    children: Mapped[list["Child"]] = relationship(lazy="raise")


class Child(Own):
    __tablename__ = "children"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("parents.id", ondelete="CASCADE"))


class Toy(Own):
    __tablename__ = "toys"
    __table_args__ = ({"schema": "play"},)
    id: Mapped[int] = mapped_column(primary_key=True)
    child_id: Mapped[int] = mapped_column(ForeignKey("children.id", ondelete="SET NULL"))


class Note(Own):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    toy_id: Mapped[int] = mapped_column(ForeignKey("play.toys.id", ondelete="CASCADE"))
    parent_id: Mapped[int] = mapped_column(ForeignKey("parents.id"))


TABLE: Any = Parent.__table__
recursive = select(Parent.id).cte("tree", recursive=True)
recursive = recursive.union_all(select(Child.id).join(recursive, Child.parent_id == recursive.c.id))
BOTH = "children parents"


@each_case(
    ("statement", "reads", "writes"),
    [
        (select(Parent), "parents", ""),
        (select(Parent.id, Toy.id), "parents play.toys", ""),
        (select(aliased(Parent)), "parents", ""),
        (select(Parent).join(Parent.children), BOTH, ""),
        (select(Parent).options(joinedload(Parent.children)), BOTH, ""),
        (select(Parent).options(selectinload(Parent.children)), "parents", ""),
        (select(Parent).where(Parent.children.any()), BOTH, ""),
        (select(func.count()).select_from(select(Parent.id).join(Parent.children).subquery()), BOTH, ""),
        (select(Parent).where(exists().where(Child.parent_id == Parent.id)), BOTH, ""),
        (union_all(select(Parent.id), select(Child.id)), BOTH, ""),
        (select(recursive.c.id), BOTH, ""),
        (select(Parent).with_for_update(), "parents", ""),
        (insert(Parent), "", "parents"),
        (insert(Parent).from_select(["id"], select(Child.id)), "children", "parents"),
        (insert(Parent).returning(Parent), "", "parents"),
        (upsert(Parent).values(id=1).on_conflict_do_nothing(), "", "parents"),
        (upsert(Parent).values(id=1).on_conflict_do_update(
            index_elements=["id"], set_={"id": select(func.max(Child.id)).scalar_subquery()}), "children", "parents"),
        (update(Child).values(id=1), "", "children"),
        (update(Child).values(id=select(func.max(Parent.id)).scalar_subquery()), "parents", "children"),
        (update(Child).where(Child.parent_id == Parent.id).values(id=1), "parents", "children"),
        (delete(Note), "", "notes"),
        (delete(Toy).where(Toy.id.in_(select(Child.id))), "children", "notes play.toys"),
        (delete(Parent), "", "children parents play.toys"),
        (select(Note.id).add_cte(delete(Note).where(Note.id == 1).cte("gone")), "notes", "notes"),
        (select(delete(Toy).returning(Toy.id).cte("gone").c.id), "", "notes play.toys"),
        (insert(TABLE), "", "parents"),
        (select(1), "", ""),
        (select(func.count(literal_column("*"))).select_from(Parent), "parents", ""),
    ],
)  # fmt: skip
def test_what_a_statement_reads_and_writes(statement: Any, reads: str, writes: str) -> None:
    assert tables_used(statement) == TablesUsed(frozenset(reads.split()), frozenset(writes.split()))


@each_case(
    ("statement", "reads", "writes"),
    [
        (text("SELECT id FROM parents WHERE id = :id"), "parents", ""),
        (text("SELECT id FROM parents").columns(Parent.id), "parents", ""),
        (select(Parent).from_statement(text("SELECT id FROM parents")), "parents", ""),
        (select(Parent).where(text("id IN (SELECT id FROM play.toys)")), "parents play.toys", ""),
        (select(Parent.id).where(Parent.id.in_([1, 2]), text("id NOT IN (SELECT id FROM notes)")), "notes parents", ""),
        (select(literal_column("(SELECT max(id) FROM notes)")), "notes", ""),
        (select(text("1")).select_from(Parent), "parents", ""),
        (select(table("unknown")), "unknown", ""),
        (insert(table("unknown")), "", "unknown"),
        (text("DELETE FROM public.parents WHERE id = :id"), "", "children parents play.toys"),
        (text("WITH gone AS (DELETE FROM play.toys RETURNING id) SELECT * FROM gone, parents"), "parents", "notes play.toys"),
        ("SELECT a FROM t, s.u JOIN v USING (id)", "s.u t v", ""),
        ("WITH t AS (SELECT * FROM t) SELECT * FROM t", "t", ""),
        ("WITH t AS (SELECT 1) SELECT * FROM t, s.t", "s.t", ""),
        ("WITH RECURSIVE t AS (SELECT 1 UNION SELECT * FROM t JOIN u ON true) SELECT * FROM t", "u", ""),
        ("WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM b", "b", ""),
        ("WITH gone AS (DELETE FROM t WHERE a = $1 RETURNING *) INSERT INTO u SELECT * FROM gone", "", "t u"),
        ("INSERT INTO t (a, b) SELECT a, b FROM u ON CONFLICT DO NOTHING", "u", "t"),
        ("INSERT INTO t AS x VALUES ($1::INT) ON CONFLICT (id) DO UPDATE SET a = (SELECT b FROM u)", "u", "t"),
        ("UPDATE ONLY t SET a = 1 FROM u WHERE u.id = t.id", "u", "t"),
        ("DELETE FROM t USING u WHERE t.id = u.id", "u", "t"),
        ("MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE", "u", "t"),
        ("TRUNCATE t, s.u", "", "s.u t"),
        ("SELECT * FROM generate_series(1, 2) g, LATERAL (SELECT * FROM T) x", "t", ""),
        ('SELECT \'FROM u\' FROM "Odd t" -- FROM v', "Odd_t", ""),
        ("(SELECT * FROM t) UNION ALL (SELECT * FROM u) ORDER BY 1", "t u", ""),
        ("SELECT p->>'a' FROM t WHERE tags @> ARRAY['x'] AND a = ANY($1) FOR UPDATE SKIP LOCKED", "t", ""),
        ("SELECT 1; DELETE FROM t", "", "t"),
    ],
)  # fmt: skip
def test_what_text_reads_and_writes(statement: Any, reads: str, writes: str) -> None:
    names = frozenset(name.replace("_", " ") for name in reads.split())
    assert tables_used(statement, Own.metadata) == TablesUsed(names, frozenset(writes.split()))


@each_case(
    "statement",
    [
        "DO $$ BEGIN DELETE FROM t; END $$",
        "CALL f()",
        "COPY t FROM STDIN",
        "SELECT * INTO zz FROM t",
        "TRUNCATE t CASCADE",
        "DROP TABLE t",
        "EXPLAIN ANALYZE DELETE FROM t",
        "SELECT 1; CALL f()",
        "SELEC 1",
        "SELECT (",
        "BEGIN",
        "",
        "SELECT 1 " + "-" * 100_000,
        text("EXECUTE prepared"),
        select(Parent).prefix_with(text("(((")),
        CreateTable(TABLE),
    ],
)
def test_what_cannot_be_known_is_not_exact(statement: Any) -> None:
    assert tables_used(statement).is_exact is False


def test_what_is_known_is_named_even_when_it_is_not_all() -> None:
    used = tables_used(select(Parent).prefix_with(text("(((")))
    assert used == TablesUsed(frozenset({"parents"}), frozenset(), is_exact=False)


@given(st.text(max_size=80))
def test_any_text_has_an_answer(statement: str) -> None:
    assert isinstance(tables_used(statement).is_exact, bool)


NAMES = st.sampled_from(["t", "u", "s.t", "s.u", "v"])


@given(st.lists(NAMES, min_size=1, max_size=5), st.sampled_from(["t", "cte", "s"]))
def test_a_cte_hides_its_name_and_no_other(names: list[str], cte: str) -> None:
    tables = ", ".join(f"{name} AS x{number}" for number, name in enumerate(names))
    used = tables_used(f"WITH {cte} AS (SELECT * FROM inside) SELECT * FROM {tables}")
    assert used == TablesUsed(frozenset({"inside", *names} - {cte}), frozenset())


def test_nothing_of_a_statement_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tables_used("DO $$ BEGIN PERFORM 'hunter2'; END $$")
    tables_used("ALTER ROLE bob PASSWORD 'hunter2' 'hunter2'")
    assert caplog.text == ""


def test_the_parser_is_imported_only_for_text() -> None:
    """Neither by a part of the service, which this process has imported, nor by a statement without text."""
    done = run_program(
        "import sys, app.core.db as db; from sqlalchemy import select; db.tables_used(select(1));"
        f"print('sqlglot' in sys.modules, {_tables_parsed.__name__!r} in sys.modules)"
    )
    assert (done.output, done.errors) == ("False False\n", "")


class Wheel(DeclarativeBase):
    metadata = MetaData()


class Maker(Wheel):
    __tablename__ = "makers"
    code: Mapped[str] = mapped_column(primary_key=True)


class Car(Wheel):
    __tablename__ = "cars"
    id: Mapped[int] = mapped_column(primary_key=True)
    maker: Mapped[str] = mapped_column(ForeignKey("makers.code", onupdate="CASCADE"))


def test_an_update_writes_what_follows_it_by_foreign_key() -> None:
    assert tables_used(update(Maker).values(code="x")).writes == {"makers", "cars"}
    assert tables_used(delete(Maker)).writes == {"makers"}
    assert tables_used(update(Car).values(id=1)).writes == {"cars"}
    for sql in (
        "UPDATE makers SET code = 'x'",
        "INSERT INTO makers VALUES ('a') ON CONFLICT (code) DO UPDATE SET code = 'b'",
    ):
        assert tables_used(sql, Wheel.metadata).writes == {"makers", "cars"}
    assert tables_used("DELETE FROM cars", Wheel.metadata).writes == {"cars"}
