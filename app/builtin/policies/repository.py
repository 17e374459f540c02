"""Reads and writes what is set by hand."""

from datetime import UTC
from typing import cast

from sqlalchemy import BigInteger, func, literal_column, select, text
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.policies.models import PolicySwitch
from app.core.db import translate_errors
from app.core.policies import Board, Switch

_NORMAL = ("on", "auto")
# Writers one after another, readers beside them: versions then grow in the order of the commits, and whoever reads the highest version has
# read everything below it.
_LOCK = text("LOCK TABLE policy_switches IN SHARE ROW EXCLUSIVE MODE")


class SwitchRepository:
    """The table, in one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def board(self) -> Board:
        """Everything that is not normal, with the table's version."""
        with translate_errors():
            rows = list(await self._session.scalars(select(PolicySwitch).order_by(PolicySwitch.name)))
        version = max((row.version for row in rows), default=0)
        return Board(version, tuple(_switch(row) for row in rows if row.state not in _NORMAL))

    async def put(self, name: str, state: str, reason: str, by: str) -> Switch:
        """Set one; the caller commits, and until then other writers wait."""
        # From the clock, so that a table restored from a backup does not give versions again that processes have seen.
        clock = sql_cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)
        highest = select(func.coalesce(func.max(PolicySwitch.version), 0) + 1).scalar_subquery()
        values = {
            "state": state,
            "reason": reason,
            "by": by,
            "at": func.clock_timestamp(),
            "version": func.greatest(clock, highest),
        }
        statement = (
            insert(PolicySwitch)
            .values(name=name, **values)
            .on_conflict_do_update(
                index_elements=["name"],
                set_={column: literal_column(f"excluded.{column}") for column in values},
            )
            .returning(PolicySwitch)
            .execution_options(populate_existing=True)
        )
        with translate_errors():
            await self._session.execute(_LOCK)
            row = cast("PolicySwitch", await self._session.scalar(statement))
        return _switch(row)


def _switch(row: PolicySwitch) -> Switch:
    return Switch(row.name, row.state, row.reason, row.by, row.at.astimezone(UTC).isoformat())
