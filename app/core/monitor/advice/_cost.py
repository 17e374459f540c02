"""What reading by an index would cost, by the planner's own formulas.

https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/optimizer/path/costsize.c (cost_index, cost_bitmap_heap_scan,
index_pages_fetched) and utils/adt/selfuncs.c (btcostestimate). No cost here is a promise of time.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from app.core.monitor.advice._tables import PAGE_BYTES, TableFacts

_SETTINGS = """
SELECT current_setting('seq_page_cost')::float8 AS seq_page, current_setting('random_page_cost')::float8 AS random_page,
       current_setting('cpu_tuple_cost')::float8 AS tuple, current_setting('cpu_index_tuple_cost')::float8 AS index_tuple,
       current_setting('cpu_operator_cost')::float8 AS operator,
       (SELECT s.setting::float8 FROM pg_catalog.pg_settings s WHERE s.name = 'effective_cache_size') AS cached_pages
"""
_FILL = 0.9
_ENTRY_BYTES = 16
_DESCENT = 50


@dataclass(frozen=True, slots=True)
class CostSettings:
    """The server's cost settings."""

    seq_page: float = 1.0
    random_page: float = 4.0
    tuple: float = 0.01
    index_tuple: float = 0.005
    operator: float = 0.0025
    cached_pages: float = 524_288.0

    @property
    def warm(self) -> "CostSettings":
        """Of a server whose pages are in memory, as those of a statement that runs often are."""
        return replace(self, random_page=min(self.random_page, 1.1 * self.seq_page))


async def cost_settings(connection: Any) -> CostSettings:
    """The settings of this connection."""
    return CostSettings(**await connection.fetchrow(_SETTINGS))


@dataclass(frozen=True, slots=True)
class Look:
    """One look into an index. share: of the table's rows that its keys find; fitting: of those that fit all conditions; values: how
    often it is descended; looks: how often all this happens; fraction: how much of it before a LIMIT is content.
    """

    share: float
    values: int = 1
    looks: float = 1.0
    fraction: float = 1.0
    correlation: float = 0.0
    is_ordered: bool = False
    is_covering: bool = False
    entry_bytes: float = 8.0
    is_search: bool = False


def index_pages(table: TableFacts, entry_bytes: float, share: float = 1.0) -> float:
    """Pages of a b-tree on the table with keys of that size; ``share`` of the rows are in it."""
    return max(1.0, table.rows * share * (entry_bytes + _ENTRY_BYTES) / (PAGE_BYTES * _FILL))


def cost_of(look: Look, table: TableFacts, settings: CostSettings) -> float:
    """Cost of all looks together."""
    found = max(1.0, table.rows * look.share)
    entries = _entries(look, table, settings, found)
    if look.is_ordered:
        heap = _walked(look, table, settings, found)
    else:
        heap = min(_walked(look, table, settings, found), _mapped(look, table, settings, found))
    return look.looks * (entries + look.fraction * heap)


def _entries(look: Look, table: TableFacts, settings: CostSettings, found: float) -> float:
    pages = index_pages(table, look.entry_bytes)
    height = max(0.0, math.ceil(math.log(max(pages, 1.0), 250)))
    descent = (
        math.ceil(math.log2(max(2.0, table.rows))) * settings.operator
        + (height + 1) * _DESCENT * settings.operator
    )
    read = (
        max(1.0, math.ceil(look.share * pages))
        if look.looks <= 1
        else _fetched(look.share * pages, pages, settings, look.looks)
    )
    cpu = found * (settings.index_tuple + settings.operator)
    if look.is_search:  # Posting lists, and their intersection.
        descent, read = 3 * descent, read + 3
    pages_cost = max(read, look.values if look.looks <= 1 else 0) * settings.random_page
    return look.values * descent + look.fraction * (pages_cost + cpu)


def _walked(look: Look, table: TableFacts, settings: CostSettings, found: float) -> float:
    """A plain index scan, page by page as the index says."""
    pages = float(max(1, table.pages))
    worst = _fetched(found, pages, settings, look.looks) * settings.random_page
    best = settings.random_page + max(0.0, math.ceil(look.share * pages) - 1) * settings.seq_page
    if look.is_covering:
        worst, best = worst * (1 - table.visible), best * (1 - table.visible)
    io = worst + look.correlation**2 * (min(worst, best) - worst)
    return io + found * (settings.tuple + settings.operator)


def _mapped(look: Look, table: TableFacts, settings: CostSettings, found: float) -> float:
    """A bitmap scan: each page once, in order."""
    pages = float(max(1, table.pages))
    read = min(pages, 2 * pages * found / (2 * pages + found))
    each = settings.random_page - (settings.random_page - settings.seq_page) * math.sqrt(read / pages)
    cost = read * (settings.random_page if read < 2 else each)
    if look.is_covering and table.visible > 0.9:
        return math.inf
    return cost + found * (settings.tuple + 2 * settings.operator) + 0.1 * settings.operator * found


def _fetched(found: float, pages: float, settings: CostSettings, looks: float) -> float:
    """Mackert and Lohman: pages that are read, of one look among ``looks``, with the cache in mind."""
    total = max(1.0, pages)
    wanted = found * looks
    if total <= settings.cached_pages:
        read = min(total, 2 * total * wanted / (2 * total + wanted))
    else:
        cache = settings.cached_pages
        limit = 2 * total * cache / (2 * total - cache)
        read = (
            2 * total * wanted / (2 * total + wanted)
            if wanted <= limit
            else cache + (wanted - limit) * (total - cache) / total
        )
    return max(1.0, read) if looks <= 1 else read / looks
