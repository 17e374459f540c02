"""Connections that nobody gave back, with the lines that took them. For development and tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from app.core.db._call_path import call_path
from app.core.db._database import Database


class ConnectionLeaked(AssertionError):
    """Connections were taken in the block and not given back; ``places`` says where each was taken, innermost line first."""

    def __init__(self, places: list[tuple[str, ...]]) -> None:
        self.places = places
        lines = "\n".join("  " + " <- ".join(place) for place in places)
        super().__init__(f"{len(places)} connection(s) were taken and not given back:\n{lines}")


@contextmanager
def forbid_connection_leaks(database: Database) -> Iterator[None]:
    """``with forbid_connection_leaks(database):`` raises ``ConnectionLeaked`` at its end for what was taken in it and is still out.

    The block's own error goes first. Costs tens of microseconds for each connection taken: not for production.
    """
    taken: dict[int, tuple[str, ...]] = {}

    def take(_connection: Any, entry: Any, _proxy: Any) -> None:
        taken[id(entry)] = call_path()

    def give_back(_connection: Any, entry: Any) -> None:
        taken.pop(id(entry), None)

    engine = database.engine.sync_engine
    event.listen(engine, "checkout", take)
    event.listen(engine, "checkin", give_back)
    try:
        yield
    finally:
        event.remove(engine, "checkout", take)
        event.remove(engine, "checkin", give_back)
    if taken:
        raise ConnectionLeaked(list(taken.values()))
