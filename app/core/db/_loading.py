"""Which relationships a question loads: those that it names, and no others."""

from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy.orm import load_only, raiseload, selectinload
from sqlalchemy.orm.interfaces import ORMOption

from app.core.db._fields import Model, field_of, mapper_of
from app.core.db._query_errors import UnknownField

LazyLoading = Literal["raise", "raise_on_sql", "off"]
"""What reading a relationship that was not loaded does: an error, an error unless no statement is needed, or what the model says."""


def load_options(
    model: Model,
    paths: Iterable[str] = (),
    *,
    only: Iterable[str] | None = None,
    lazy: LazyLoading = "raise",
) -> list[ORMOption]:
    """Options that load the relationships at ``paths``, such as ``"assignments.template"``, each in one more statement for all rows.

    only: the columns to read, besides the primary key; reading another one later is an error. Raises UnknownField.
    """
    options: list[ORMOption] = [_path(model, path) for path in paths]
    if only is not None:
        options.append(load_only(*(field_of(model, name).attribute for name in only), raiseload=True))
    if lazy != "off":
        options.append(raiseload("*", sql_only=lazy == "raise_on_sql"))
    return options


def _path(model: Model, path: str) -> Any:
    loader: Any = None
    for name in path.split("."):
        relationships = mapper_of(model).relationships
        if name not in relationships:
            raise UnknownField(path, relationships.keys())
        attribute = getattr(model, name)
        loader = selectinload(attribute) if loader is None else loader.selectinload(attribute)
        model = relationships[name].mapper.class_
    return loader
