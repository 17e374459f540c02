"""Many rows in few statements."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import any_, bindparam, cast, column, delete, insert, select, tuple_, update, values
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import Update

from app.core.db._collector import rare_collections
from app.core.db._errors import translate_errors
from app.core.db._fields import Model, ModelField, field_of, fields_of, mapper_of, primary_key_of
from app.core.db._loading import LazyLoading, load_options
from app.core.db._query_errors import InvalidFieldValue
from app.core.db._scope import RowScope
from app.core.db._statements import ModelT, identity_of
from app.core.db._uncut import uncut

MAX_PARAMETERS = 32_767
"""Of one statement: the protocol counts them in 16 bits, and asyncpg in 15."""
_MOST_ROWS = 1000
Row = dict[str, Any]


def chunks(rows: Sequence[Any], width: int) -> Iterator[Sequence[Any]]:
    """``rows`` of ``width`` parameters each, in parts of at most 1000 rows that a statement can hold."""
    size = max(1, min(_MOST_ROWS, MAX_PARAMETERS // max(1, width)))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


async def create_rows(
    session: AsyncSession, model: type[ModelT], rows: Sequence[Row], lazy: LazyLoading = "raise"
) -> list[ModelT]:
    """Insert, and return the objects in the order of ``rows``, with what the database filled in."""
    statement = (
        insert(model).returning(model, sort_by_parameter_order=True).options(*load_options(model, lazy=lazy))
    )
    made: list[ModelT] = []
    with translate_errors(), rare_collections():
        # By the widest row there can be: defaults are parameters too.
        for part in chunks(rows, len(fields_of(model))):
            made += (await session.scalars(statement, list(part))).all()
    return made


async def insert_rows(session: AsyncSession, model: Model, rows: Sequence[Row]) -> int:
    """Insert and count. No object is made: the driver sends one prepared statement and all rows behind it."""
    if rows:
        with translate_errors():
            await session.execute(insert(model), list(rows))
    return len(rows)


async def update_rows(
    session: AsyncSession, model: Model, rows: Sequence[Row], scope: RowScope, lazy: LazyLoading = "raise"
) -> int:
    """Change rows by primary key; how many were there. Objects of the session that were changed are read again."""
    identities = [_identity(model, row) for row in rows]
    if len(set(identities)) < len(identities):
        raise InvalidFieldValue(primary_key_of(model)[0].name, "names a row twice")
    changed: list[tuple[Any, ...]] = []
    with translate_errors():
        for names, alike in _by_fields(rows).items():
            for part in chunks(alike, len(names)):
                found = await session.execute(_update(model, names, part, scope))
                changed += [tuple(row) for row in found]
        await _read_again(session, model, changed, lazy)
    return len(changed)


async def delete_rows(session: AsyncSession, model: Model, identities: Iterable[Any], scope: RowScope) -> int:
    """Remove rows by primary key; how many were there. Objects of the session that are gone leave it."""
    if isinstance(identities, str | bytes):
        raise InvalidFieldValue(
            primary_key_of(model)[0].name, "is one of many; a single text would be taken for its letters"
        )
    keys = [tuple(identity_of(model, identity).values()) for identity in identities]
    gone = 0
    with translate_errors():
        for part in chunks(keys, len(primary_key_of(model))):
            statement = (
                delete(model)
                .where(_among(model, part), *scope.criteria())
                .returning(*(field.attribute for field in primary_key_of(model)))
                .execution_options(synchronize_session="fetch")
            )
            gone += len((await session.execute(statement)).all())
    return gone


def _identity(model: Model, row: Row) -> tuple[Any, ...]:
    keys = {field.name for field in primary_key_of(model)}
    if missing := sorted(keys - row.keys()):
        raise InvalidFieldValue(missing[0], "is missing in a row")
    if row.keys() == keys:
        raise InvalidFieldValue("rows", "must have a field to change")
    return tuple(identity_of(model, {name: row[name] for name in keys}).values())


def _by_fields(rows: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
    alike: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault(tuple(sorted(row)), []).append(row)
    return alike


def _update(model: Model, names: tuple[str, ...], rows: Sequence[Row], scope: RowScope) -> Update:
    """UPDATE ... FROM (VALUES ...): all rows in one statement, which says which of them there were."""
    fields = [field_of(model, name) for name in names]
    source = values(*(column(field.name, field.attribute.type) for field in fields), name="changes").data(
        [tuple(_stored(field, row[field.name]) for field in fields) for row in rows]
    )
    key = primary_key_of(model)
    new: dict[Any, Any] = {
        field.attribute: cast(source.c[field.name], uncut(field.attribute.type))
        for field in fields
        if field not in key
    }
    if (version := mapper_of(model).version_id_col) is not None:
        new.setdefault(getattr(model, mapper_of(model).get_property_by_column(version).key), version + 1)
    same = (field.attribute == cast(source.c[field.name], uncut(field.attribute.type)) for field in key)
    return (
        update(model)
        .where(*same, *scope.criteria())
        .values(new)
        .returning(*(field.attribute for field in key))
        .execution_options(synchronize_session=False)
    )


def _stored(field: ModelField, value: Any) -> Any:
    return value if field.is_array else field.value(value)


def _among(model: Model, keys: Sequence[tuple[Any, ...]]) -> Any:
    fields = primary_key_of(model)
    if len(fields) > 1:
        return tuple_(*(field.attribute for field in fields)).in_(keys)
    attribute = fields[0].attribute
    # One parameter for all, so that the statement's text is the same for any number of rows.
    return attribute == any_(bindparam(None, [key[0] for key in keys], type_=ARRAY(uncut(attribute.type))))


async def _read_again(
    session: AsyncSession, model: Model, keys: Sequence[tuple[Any, ...]], lazy: LazyLoading
) -> None:
    """Objects that the session has already must not show what was there before."""
    known = session.sync_session.identity_map
    mapper = mapper_of(model)
    stale = [key for key in keys if known and mapper.identity_key_from_primary_key(key) in known]
    for part in chunks(stale, len(primary_key_of(model))):
        again = select(model).where(_among(model, part)).options(*load_options(model, lazy=lazy))
        await session.scalars(again.execution_options(populate_existing=True))
