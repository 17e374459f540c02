from typing import Any

import pytest
from sqlalchemy import (
    ForeignKey,
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

from app.core.db import TablesUsed, tables_used


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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT id FROM parents",
        text("SELECT id FROM parents"),
        text("SELECT id FROM parents").columns(Parent.id),
        select(Parent).from_statement(text("SELECT id FROM parents")),
        select(Parent).where(text("id IN (SELECT id FROM toys)")),
        select(literal_column("(SELECT max(id) FROM toys)")),
        select(text("1")).select_from(Parent),
        select(table("unknown")),
        insert(table("unknown")),
        CreateTable(TABLE),
    ],
)
def test_what_cannot_be_known_is_not_exact(statement: Any) -> None:
    assert tables_used(statement).is_exact is False
