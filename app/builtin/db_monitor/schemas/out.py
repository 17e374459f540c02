"""What all answers of the monitor have in common."""

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict, Field


class Out(BaseModel):
    """A part of an answer, taken from an object of the monitor by the names of its attributes."""

    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def all_of(cls, items: Iterable[object]) -> list[Self]:
        """Each of ``items`` as it goes out."""
        return [cls.model_validate(item) for item in items]


class InSchemaOut(Out):
    """What stands in a schema of the database."""

    schema_: str = Field(validation_alias="schema", serialization_alias="schema")
