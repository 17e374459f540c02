"""What the planner itself says to what was chosen (hypopg), and what is left of it then.

It is asked whether, and not how wide: it takes what is true of most rows (their order on disk, the sizes of groups) for all of them, and so
finds a single key enough where a second one spares most of the work.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.monitor.advice._choice import GAIN, SAVING_PAGES, USED
from app.core.monitor.advice._cost import CostSettings
from app.core.monitor.advice._hypothetical import METHODS, Hypothesis, Verdict
from app.core.monitor.advice._indexes import Index
from app.core.monitor.advice._tables import TableFacts

Proposed = tuple[TableFacts, Index]
REFUSED = (
    "the planner was asked with the index in place (hypopg) and would not use it, or gain too little by it"
)


@dataclass(frozen=True, slots=True)
class Verified:
    """The indexes that are left, the statement's cost with all of them (None: could not be asked), and their sizes in bytes."""

    indexes: tuple[Proposed, ...]
    cost: float | None
    sizes: tuple[int, ...]
    is_asked: bool


class Court:
    """Asks about the indexes of one statement, which costs ``total`` without them."""

    def __init__(self, hypothesis: Hypothesis, settings: CostSettings, total: float) -> None:
        self._hypothesis = hypothesis
        self._settings = settings
        self._total = total
        self._warm = f"SET LOCAL random_page_cost = {settings.warm.random_page:.4f}"

    async def decide(self, proposed: Sequence[Proposed]) -> Verified:
        """Those that the planner takes, and that halve the statement's cost."""
        unasked = Verified(tuple(proposed), None, (), is_asked=False)
        if any(index.method not in METHODS or table.is_partitioned for table, index in proposed):
            return unasked
        verdict = await self._hypothesis.with_indexes(proposed)
        if verdict is None:
            return unasked
        kept = [it for it, used in zip(proposed, verdict.used, strict=True) if used]
        if not kept:
            return Verified((), None, (), is_asked=True)
        final = await self._hypothesis.with_indexes(kept)
        if final is None or not await self._pays(kept, final):
            return Verified((), None, (), is_asked=True)
        return Verified(tuple(kept), final.cost, final.sizes, is_asked=True)

    async def _pays(self, kept: Sequence[Proposed], verdict: Verdict) -> bool:
        if verdict.cost * USED > self._total or self._total - verdict.cost < self._least:
            return False
        without = await self._hypothesis.with_indexes((), self._warm)
        warm = await self._hypothesis.with_indexes(kept, self._warm)
        is_half = without is not None and warm is not None and warm.cost * GAIN <= without.cost
        return is_half or verdict.cost * GAIN <= self._total

    @property
    def _least(self) -> float:
        return SAVING_PAGES * self._settings.random_page
