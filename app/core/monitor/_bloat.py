"""How much of a table or a b-tree is empty space: an estimate from statistics, which reads no page of them.

The method is that of https://github.com/ioguix/pgsql-bloat-estimation: how many pages the rows would fill at the widths that ANALYZE saw,
against how many there are. It is off where rows differ much in width, and for indexes with repeated values, which are stored once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

_PAGE_HEADER = 24
_ROW_HEADER, _ROW_POINTER, _ALIGNMENT = 23, 4, 8
_INDEX_ENTRY_HEADER, _INDEX_PAGE_END = 8, 16
_LEAST_PAGES = 10


@dataclass(frozen=True, slots=True)
class Width:
    """What ANALYZE saw of one column: the share of NULL (0 to 1), and the mean width in bytes of the other values."""

    null_share: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Bloat:
    """An estimate: ``bytes`` of empty space beyond what the fill factor leaves, and their share. 0 where there is less than expected."""

    bytes: int
    percent: float


def heap_bloat(
    widths: Sequence[Width | None], *, rows: float, pages: int, block_size: int, fill_percent: int = 100
) -> Bloat | None:
    """Of a table's main file, without TOAST. None where it cannot be told: a column without statistics (None), never vacuumed or analysed,
    or fewer than ten pages.
    """
    known = [width for width in widths if width is not None]
    if len(known) < len(widths) or not known or rows < 0 or pages < _LEAST_PAGES:
        return None
    header = _ROW_HEADER + ((7 + len(known)) // 8 if any(width.null_share > 0 for width in known) else 0)
    row = _ROW_POINTER + _aligned(header) + _aligned(ceil(_data(known)))
    per_page = (block_size - _PAGE_HEADER) * fill_percent / 100 / row
    return _bloat(pages, ceil(rows / per_page) if per_page else pages, block_size)


def btree_bloat(
    widths: Sequence[Width | None], *, rows: float, pages: int, block_size: int, fill_percent: int = 90
) -> Bloat | None:
    """Of a b-tree. None as for ``heap_bloat``; with many equal keys it is too low, because they are stored once."""
    known = [width for width in widths if width is not None]
    if len(known) < len(widths) or not known or rows < 0 or pages < _LEAST_PAGES:
        return None
    header = _INDEX_ENTRY_HEADER + (4 if any(width.null_share > 0 for width in known) else 0)
    entry = _ROW_POINTER + _aligned(header) + _aligned(ceil(_data(known)))
    per_page = floor((block_size - _PAGE_HEADER - _INDEX_PAGE_END) * fill_percent / (100 * entry))
    return _bloat(pages, 1 + ceil(rows / per_page) if per_page else pages, block_size)


def _data(widths: Sequence[Width]) -> float:
    return sum((1 - width.null_share) * width.bytes for width in widths)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _bloat(pages: int, expected: int, block_size: int) -> Bloat:
    empty = max(0, pages - expected)
    return Bloat(empty * block_size, round(100.0 * empty / pages, 1))
