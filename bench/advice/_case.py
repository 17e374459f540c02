"""A statement, and what a good adviser answers to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product

Indexes = frozenset[str]
"""Indexes that help together, each as what stands behind ``CREATE INDEX ON``: ``orders (customer_id)``."""
Answer = str | Sequence[str]
ANY_VERSION = 10**9


@dataclass(frozen=True, slots=True)
class Case:
    """One statement with its right answers, any of which is right; without one, no index is.

    ``values`` are examples for its ``$1``. ``narrow`` are indexes that help clearly less than the answers, ``wide`` those that hold more
    and help no more, and ``tries`` those that somebody might think of where none helps: suggesting one of them is wrong, and ``--verify``
    measures that it is. ``since`` and ``below`` are the server versions (as 180000) for which all this is so. ``effect`` says that the
    index serves something that the plan does not show, such as the check of a foreign key.
    """

    name: str
    kind: str
    sql: str
    answers: tuple[Answer, ...] = ()
    values: str = ""
    narrow: tuple[str, ...] = ()
    wide: tuple[str, ...] = ()
    tries: tuple[str, ...] = ()
    is_refused: bool = False
    is_unseen_by_plan: bool = False
    since: int = 0
    below: int = ANY_VERSION

    @property
    def accepted(self) -> tuple[Indexes, ...]:
        """The answers as sets."""
        return tuple(frozenset([one] if isinstance(one, str) else one) for one in self.answers)

    def is_for(self, version: int) -> bool:
        """Whether the case holds on this server."""
        return self.since <= version < self.below


def any_order(table: str, *columns: str, rest: str = "") -> tuple[str, ...]:
    """The index on ``columns`` in every order: for equalities, which may stand in any."""
    return tuple(f"{table} ({', '.join(order)}){rest}" for order in permutations(columns))


def either_way(table: str, equal: Sequence[str], sort: str, rest: str = "") -> tuple[str, ...]:
    """The index that is walked in order, forwards or backwards: ``equal`` in every order, then ``sort`` as it is and reversed."""
    ways = (sort, ", ".join(_reversed(sort.split(", "))))
    return tuple(
        f"{table} ({', '.join((*order, way))}){rest}" for order, way in product(permutations(equal), ways)
    )


def _reversed(keys: Sequence[str]) -> Iterator[str]:
    for key in keys:
        yield key.removesuffix(" DESC") if key.endswith(" DESC") else f"{key} DESC"


def partial(table: str, predicate: str, *keys: str) -> tuple[str, ...]:
    """The partial index with each of the ``keys``: which one it has does not matter where the predicate says all."""
    return tuple(f"{table} ({key}) WHERE {predicate}" for key in keys)


def gin_json(table: str, column: str) -> tuple[str, ...]:
    """GIN for containment, with either of its operator classes."""
    return f"{table} USING gin ({column})", f"{table} USING gin ({column} jsonb_path_ops)"


def prefix(table: str, key: str) -> tuple[str, ...]:
    """B-trees that serve LIKE 'x%' where the collation is not C."""
    return f"{table} ({key} text_pattern_ops)", f'{table} ({key} COLLATE "C")'


def trigram(table: str, key: str) -> tuple[str, ...]:
    """GIN only: the same as GiST reads many times more pages."""
    return (f"{table} USING gin ({key} gin_trgm_ops)",)
