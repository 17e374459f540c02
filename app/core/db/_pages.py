"""Pages of a list, by number and by cursor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from app.core.db._query_errors import InvalidLimit

MAX_LIMIT = 1000
_LARGEST = 2**63 - 1  # PostgreSQL's OFFSET is a bigint.
RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True)
class PaginationParams:
    """``limit`` rows (1 to 1000) after the first ``skip``. Raises InvalidLimit.

    PostgreSQL reads and throws away what is skipped: for deep pages use a cursor.
    """

    skip: int = 0
    limit: int = 20

    def __post_init__(self) -> None:
        check_limit(self.limit)
        if not _is_whole(self.skip, 0, _LARGEST):
            raise InvalidLimit("skip", "must be a number, 0 or more")

    @classmethod
    def of_page(cls, page: int, limit: int = 20, *, most: int = 100) -> Self:
        """Page 1, 2, ... of ``limit`` rows, at most ``most``: for HTTP. Raises InvalidLimit."""
        check_limit(limit, most)
        if not _is_whole(page, 1, _LARGEST // limit):
            raise InvalidLimit("page", "must be a number, 1 or more")
        return cls(skip=(page - 1) * limit, limit=limit)


@dataclass(frozen=True, slots=True)
class Page(Generic[RowT]):
    """A page by number, and how many rows there are in all, a moment later."""

    data: Sequence[RowT]
    total: int
    skip: int
    limit: int

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return -(-self.total // self.limit)

    @property
    def current_page(self) -> int:
        """The number of this page, from 1."""
        return self.skip // self.limit + 1

    @property
    def has_next(self) -> bool:
        """Whether rows follow."""
        return self.skip + self.limit < self.total

    @property
    def has_previous(self) -> bool:
        """Whether rows come before."""
        return self.skip > 0


@dataclass(frozen=True, slots=True)
class CursorPage(Generic[RowT]):
    """A page of a list that is followed by cursor; ``next_cursor`` is None on the last one."""

    data: Sequence[RowT]
    next_cursor: str | None

    @property
    def has_next(self) -> bool:
        """Whether rows follow."""
        return self.next_cursor is not None


def check_limit(limit: int, most: int = MAX_LIMIT) -> int:
    """``limit``, if it is a number from 1 to ``most``. Raises InvalidLimit."""
    if not _is_whole(limit, 1, most):
        raise InvalidLimit("limit", f"must be a number from 1 to {most}")
    return limit


def _is_whole(number: object, least: int, most: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and least <= number <= most
