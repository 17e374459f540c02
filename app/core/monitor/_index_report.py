"""All that there is to say about the indexes of a database, so that one part of it does not contradict another."""

from dataclasses import dataclass, replace

from app.core.monitor._index_duplicates import RedundantIndex, redundant_findings, redundant_indexes
from app.core.monitor._index_foreign_keys import UnindexedKey, key_findings, unindexed_keys
from app.core.monitor._index_invalid import InvalidIndex, invalid_findings, invalid_indexes
from app.core.monitor._index_usage import UnusedIndex, unused_findings, unused_indexes
from app.core.monitor._panel import Finding, ranked
from app.core.monitor._server import Asked


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What is wrong with the indexes; each part largest first."""

    unused: tuple[UnusedIndex, ...]
    redundant: tuple[RedundantIndex, ...]
    invalid: tuple[InvalidIndex, ...]
    foreign_keys: tuple[UnindexedKey, ...]
    findings: tuple[Finding, ...]


async def index_report(
    asked: Asked, *, days: float = 35.0, least_bytes: int = 1_048_576, limit: int = 50
) -> IndexReport:
    """At most ``limit`` of each kind, and of findings the worst.

    An index that stands in for a redundant one is not called unused, because both might be dropped then. ``days`` and ``least_bytes`` are
    those of ``unused_indexes``. Waits for no lock.
    """
    redundant = await redundant_indexes(asked, limit=limit)
    needed = {(it.schema, it.covered_by): it.name for it in redundant if it.ddl}
    unused = tuple(
        _kept(it, needed.get((it.schema, it.name)))
        for it in await unused_indexes(asked, days=days, least_bytes=least_bytes, limit=limit)
    )
    invalid = await invalid_indexes(asked, limit=limit)
    keys = await unindexed_keys(asked, limit=limit)
    findings = [
        *unused_findings(unused),
        *redundant_findings(redundant),
        *invalid_findings(invalid),
        *key_findings(keys),
    ]
    return IndexReport(unused, redundant, invalid, keys, tuple(ranked(findings)[:limit]))


def _kept(index: UnusedIndex, stands_for: str | None) -> UnusedIndex:
    if stands_for is None or index.verdict != "unused":
        return index
    reason = f"it stands in for {stands_for}, which is redundant: drop that one first, and look again"
    return replace(index, verdict="kept", reason=reason, ddl=(), alembic=None)
