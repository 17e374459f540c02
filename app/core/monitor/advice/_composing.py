"""Puts together what is answered for one statement."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from app.core.monitor._server import ServerFacts
from app.core.monitor.advice._choice import Chosen
from app.core.monitor.advice._cost import CostSettings, Look, cost_of
from app.core.monitor.advice._foreign_keys import Reference
from app.core.monitor.advice._indexes import Index
from app.core.monitor.advice._reasons import reason_of, reference_reason
from app.core.monitor.advice._suggestions import Advice, Rewrite, Suggestion
from app.core.monitor.advice._tables import TableFacts
from app.core.monitor.advice._verdicts import Verified

_WORTH = 1.5


class Composer:
    """Collects suggestions for a statement that costs ``total`` now."""

    def __init__(self, facts: ServerFacts, total: float) -> None:
        self._facts = facts
        self._total = total
        self._found: dict[tuple[int, Index], Suggestion] = {}
        self._is_verified = False

    def is_worth(self, chosen: Sequence[Chosen]) -> bool:
        """Whether all of them together make the statement at least half as fast again."""
        saved = min(sum(it.saved for it in chosen), self._total * 0.9999)
        return self._total / (self._total - saved) >= _WORTH

    def add(self, chosen: Sequence[Chosen], verified: Verified | None = None) -> None:
        """Suggest what was chosen; ``verified`` says what is left of it."""
        asked = verified is not None and verified.is_asked
        self._is_verified |= asked
        left = (
            {(table.oid, index) for table, index in verified.indexes}
            if verified is not None and asked
            else None
        )
        sizes = dict(zip(left or (), verified.sizes if verified is not None else (), strict=False))
        after = self._total - sum(it.before - it.after for it in chosen)
        cost = verified.cost if verified is not None and verified.cost is not None else max(after, 0.01)
        for it in chosen:
            for index in it.option.indexes:
                slot = (it.reading.table.oid, index)
                if left is not None and slot not in left:
                    continue
                made = self._made(it.reading.table, index, reason_of(it, index), cost, is_asked=asked)
                made = replace(made, asked_bytes=sizes.get(slot), equals=it.option.equals)
                self._found.setdefault(slot, made)

    def add_reference(
        self, table: TableFacts, index: Index, reference: Reference, settings: CostSettings
    ) -> None:
        """Suggest an index for a foreign key; the statement's plan holds no cost of it."""
        scanned = (table.pages * settings.seq_page + table.rows * settings.tuple) * reference.rows
        looked = cost_of(Look(1.0 / max(1.0, table.rows), looks=reference.rows), table, settings)
        made = self._made(
            table, index, reference_reason(table, reference.columns, reference.referred), looked
        )
        self._found.setdefault(
            (table.oid, index), replace(made, cost_before=scanned, cost_after=looked, equals=len(index.keys))
        )

    def advice(self, rewrites: Iterable[Rewrite], reasons: Iterable[str]) -> Advice:
        """The answer; never silent."""
        lines = tuple(dict.fromkeys(reasons))
        if not self._found and not lines:
            lines = ("no index would make the statement faster",)
        return Advice(
            tuple(self._found.values()), tuple(dict.fromkeys(rewrites)), lines, self._total, self._is_verified
        )

    def _made(
        self, table: TableFacts, index: Index, reason: str, cost: float, *, is_asked: bool = False
    ) -> Suggestion:
        if index.extension is not None and self._facts.has(index.extension):
            index = replace(index, extension=None)
        return Suggestion(
            facts=table,
            index=index,
            reason=reason,
            cost_before=self._total,
            cost_after=cost,
            verified="hypopg" if is_asked else "estimated",
        )
