from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import app.builtin.accounts.models
import app.features.records.models
import app.registry  # noqa: F401 - maps the tables
from app.core.db import Base, Timestamps, UUIDPrimaryKey


class OwnBase(DeclarativeBase):
    """Base's conventions on a metadata of its own, so that test tables do not look like drift."""

    metadata = type(Base.metadata)(naming_convention=Base.metadata.naming_convention)
    type_annotation_map = Base.type_annotation_map


class Parent(UUIDPrimaryKey, Timestamps, OwnBase):
    __tablename__ = "parents"
    name: Mapped[str]


class Child(UUIDPrimaryKey, OwnBase):
    __tablename__ = "children"
    __table_args__ = (UniqueConstraint("parent_id"), CheckConstraint("age > 0", name="age_is_positive"))
    parent_id: Mapped[UUID] = mapped_column(ForeignKey("parents.id"), index=True)
    age: Mapped[int]
    tags: Mapped[list[str]]


def test_constraints_get_names() -> None:
    table = Child.__table__
    names = {str(constraint.name) for constraint in table.constraints}  # type: ignore[attr-defined]
    assert names == {
        "pk_children",
        "fk_children_parent_id_parents",
        "uq_children_parent_id",
        "ck_children_age_is_positive",
    }


def test_times_carry_their_zone_and_ids_come_first() -> None:
    columns = Parent.__table__.columns
    assert list(columns.keys()) == ["id", "name", "created_at", "updated_at"]
    kind = columns["created_at"].type
    assert isinstance(kind, DateTime)
    assert kind.timezone
    assert kind.python_type is datetime


def test_ids_are_made_in_time_order() -> None:
    make = Parent.__table__.columns["id"].default
    assert make is not None
    ids = [make.arg(None) for _ in range(100)]
    assert all(isinstance(identity, UUID) and identity.version == 7 for identity in ids)
    assert ids == sorted(ids)


def test_every_mapped_relationship_refuses_to_load_by_itself() -> None:
    mappers = list(Base.registry.mappers)
    assert len(mappers) >= 2
    lazy = [
        str(relationship)
        for mapper in mappers
        for relationship in mapper.relationships
        if relationship.lazy not in ("raise", "raise_on_sql", "write_only")
    ]
    assert lazy == []
