"""What a statement is, beside its cost: the text, and who sends it."""

from collections.abc import Iterable
from typing import NamedTuple

from app.builtin.db_monitor.repository import KnownStatement
from app.builtin.db_monitor.service.measured import routes_of
from app.core.db import tables_used
from app.core.monitor import (
    Asked,
    MeasuredQuery,
    breathing,
    is_noise,
    query_origin,
    redacted,
    statement_texts,
)

_MOST_ORIGINS = 20


class Described(NamedTuple):
    """A redacted text, and the routes and policies that are known to send it."""

    text: str
    routes: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()


async def described_by_server(asked: Asked, queryids: Iterable[int]) -> dict[int, Described]:
    """As the server has them, without what is noise; raises as ``statement_texts``."""
    found: dict[int, Described] = {}
    async for queryid, text in breathing((await statement_texts(asked, queryids)).items(), every=8):
        if not is_noise(text.text):
            origin = query_origin(text.ending)
            routes = (origin.route,) if origin and origin.route else ()
            policies = (origin.policy,) if origin and origin.policy else ()
            found[queryid] = Described(redacted(text.text), routes, policies)
    return found


def described(known: KnownStatement | Described, measured: MeasuredQuery | None) -> Described:
    """What is known, with the routes that were seen where it was measured; at most twenty of each."""
    routes = {*known.routes, *(routes_of(measured) if measured is not None else ())}
    return Described(known.text, tuple(sorted(routes))[:_MOST_ORIGINS], known.policies[:_MOST_ORIGINS])


def tables_of(text: str) -> list[str]:
    """The tables that a redacted text names, as far as it can be understood without its values."""
    used = tables_used(text.replace("(...)", "(NULL)").replace("?", "NULL"))
    return sorted(used.reads | used.writes)
