"""Which conditions of a table an index could serve, and how."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.core.monitor.advice._classes import Classes
from app.core.monitor.advice._expressions import (
    Both,
    Call,
    Cast,
    Column,
    Constant,
    Either,
    Expression,
    IsTest,
    Negation,
    OfArray,
    Operation,
    Row,
    columns_of,
    conjuncts,
    is_understood,
    walk,
)
from app.core.monitor.advice._patterns import Pattern, pattern_of
from app.core.monitor.advice._readings import Join
from app.core.monitor.advice._tables import TableFacts, bare

Kind = Literal["equal", "range", "search", "rare"]
_TURNED = {
    "=": "=",
    "<": ">",
    ">": "<",
    "<=": ">=",
    ">=": "<=",
    "@>": "<@",
    "<@": "@>",
    "&&": "&&",
    "<>": "<>",
}
_COMPARED = frozenset({"<", "<=", ">", ">="})
_UNKNOWN_VALUES = 10
_TEXTS = frozenset({"text", "character varying", "character", "name"})


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an index: an expression without aliases, and its operator class where it is not the usual one."""

    expression: Expression
    operator_class: str | None = None
    is_descending: bool = False
    nulls_first: bool | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """Conditions that one index key can serve.

    equal: one value, or ``values`` of them. range: between two. search: what GIN and GiST do. rare: no key serves it, but a partial index
    could hold only the rows that fit. ``join``: the value comes from another table. ``extension``: that has to be there. is_null: the
    value is NULL, which the planner does not know to keep an order.
    """

    kind: Kind
    keys: tuple[Key, ...]
    clauses: tuple[Expression, ...]
    method: str = "btree"
    values: int = 1
    join: Join | None = None
    extension: str | None = None
    is_null: bool = False

    @property
    def name(self) -> tuple[Expression, ...]:
        """What makes two ways to the same key one."""
        return tuple(key.expression for key in self.keys)


class Ways:
    """Reads the conditions of one table. ``classes`` knows operators, types and what never changes."""

    def __init__(self, alias: str, table: TableFacts, classes: Classes) -> None:
        self._alias = alias
        self._table = table
        self._classes = classes

    def of(self, clause: Expression, join: Join | None = None) -> Way | None:
        """How an index could serve ``clause``, None if it could not as it is written."""
        if not is_understood(clause) or not self._mine(clause):
            return None
        match clause:
            case Column() | IsTest() | Negation():
                found = self._tested(clause)
            case Operation(operator, left, right) if left is not None:
                found = self._compared(clause, operator, left, right)
            case Call(
                "starts_with", (left, right)
            ):  # To the planner the same as the operator, since PostgreSQL 15.
                found = self._compared(clause, "^@", left, right)
            case OfArray("=", left, array, False) if self._is_key(left) and self._is_value(array):
                found = self._keyed("equal", left, "=", clause, values=_count(array))
            case OfArray("<>", left, array, True) if self._is_key(left) and self._is_value(array):
                found = self._rare(left, clause)
            case _:
                found = None
        return replace(found, join=join) if found is not None and join is not None else found

    def alternatives(self, clause: Expression) -> tuple[tuple[Way, ...], ...]:
        """For OR: the ways of each side; empty if one side has none."""
        if not isinstance(clause, Either):
            return ()
        sides = [
            tuple(
                way for part in conjuncts(side) if (way := self.of(part)) is not None and way.kind != "rare"
            )
            for side in clause.parts
        ]
        return tuple(sides) if all(sides) else ()

    def nearest(self, key: Expression) -> Key | None:
        """The GiST key that walks in order of a distance from a value."""
        if not isinstance(key, Operation) or key.left is None:
            return None
        left, right = (key.left, key.right) if self._is_key(key.left) else (key.right, key.left)
        if not (self._is_key(left) and isinstance(left, Column) and self._is_value(right)):
            return None
        found = self._classes.distance_class(self._alias, self._table, left, key.operator)
        return None if found is None else Key(bare(left), found or None)

    def can_order(self, key: Expression) -> bool:
        """Whether a b-tree can hold what is ordered by."""
        if isinstance(key, Column):
            column = self._table.columns.get(key.name)
            return column is not None and column.has_btree
        return not isinstance(key, Operation) and self._classes.may_be_indexed(self._alias, self._table, key)

    def _mine(self, expression: Expression) -> bool:
        return any(it.alias == self._alias for it in columns_of(expression))

    def _is_key(self, expression: Expression) -> bool:
        columns = columns_of(expression)
        return bool(columns) and all(it.alias == self._alias for it in columns)

    def _is_value(self, expression: Expression) -> bool:
        return not self._mine(expression) and not self._classes.is_volatile(expression)

    def _plain(self, expression: Expression) -> Expression:
        """Without casts that change nothing (varchar to text)."""
        if isinstance(expression, Cast) and isinstance(expression.of, Column):
            column = self._table.columns.get(expression.of.name)
            if column is not None and expression.type in column.same_as:
                return expression.of
        return expression

    def _tested(self, clause: Expression) -> Way | None:
        match clause:
            case IsTest(of, "NULL") if self._is_key(of):
                found = self._keyed("equal", of, "=", clause)
                return None if found is None else replace(found, is_null=True)
            case IsTest(of, "NOT NULL") if isinstance(self._plain(of), Column):
                return self._keyed("range", of, "<", clause)
            case Column() as column if self._type(column) == "boolean":
                return self._keyed("equal", column, "=", clause)
            case Negation(Column() as column) | IsTest(Column() as column, "TRUE" | "FALSE"):
                return self._keyed("equal", column, "=", clause)
            case IsTest(Column() as column, "NOT TRUE" | "NOT FALSE"):
                return self._rare(column, clause)
            case _:
                return None

    def _rare(self, left: Expression, clause: Expression) -> Way | None:
        """For a partial index, whose condition must hold nothing that changes, and no parameter."""
        key = self._plain(left)
        if not isinstance(key, Column) or not self._classes.may_be_indexed(self._alias, self._table, clause):
            return None
        return Way("rare", (Key(bare(key)),), (clause,))

    def _type(self, expression: Expression) -> str | None:
        return self._classes.type_of(self._alias, self._table, self._plain(expression))

    def _compared(self, clause: Expression, operator: str, left: Expression, right: Expression) -> Way | None:
        if isinstance(left, Row) and isinstance(right, Row):
            return self._rows(clause, operator, left, right)
        if not self._is_key(left) and operator in _TURNED:
            operator, left, right = _TURNED[operator], right, left
        if not self._is_key(left) or not self._is_value(right):
            return None
        if operator == "=" or operator in _COMPARED:
            return self._keyed("equal" if operator == "=" else "range", left, operator, clause)
        if operator == "<>":
            return self._rare(left, clause)
        pattern = pattern_of(operator, right)
        return (
            self._searched(operator, left, clause) if pattern is None else self._like(pattern, left, clause)
        )

    def _rows(self, clause: Expression, operator: str, left: Row, right: Row) -> Way | None:
        if operator not in _COMPARED or not all(map(self._is_value, right.parts)):
            return None
        if not all(isinstance(self._plain(it), Column) and self._is_key(it) for it in left.parts):
            return None
        return Way("range", tuple(Key(bare(self._plain(it))) for it in left.parts), (clause,))

    def _keyed(
        self, kind: Kind, left: Expression, operator: str, clause: Expression, values: int = 1
    ) -> Way | None:
        """By b-tree, if what is compared is a column, or never changes for a row."""
        key = self._plain(left)
        if not isinstance(key, Column) and not self._classes.may_be_indexed(self._alias, self._table, key):
            return None
        if not self._classes.has_btree(self._alias, self._table, key, operator):
            return None
        return Way(kind, (Key(bare(key)),), (clause,), values=values)

    def _like(self, pattern: Pattern, left: Expression, clause: Expression) -> Way | None:
        key = self._plain(left)
        if isinstance(left, Column) and self._type(left) not in _TEXTS:
            return None  # citext has LIKE operators of its own, which no index serves.
        if not isinstance(key, Column) and not self._classes.may_be_indexed(self._alias, self._table, key):
            return None
        if pattern.kind == "exact":
            return Way("equal", (Key(bare(key)),), (clause,))
        if pattern.kind == "prefix":
            return Way(
                "range",
                (Key(bare(key), self._classes.pattern_class(self._alias, self._table, key)),),
                (clause,),
            )
        if pattern.kind == "inside" and self._classes.has_trigrams:
            return Way("search", (Key(bare(key), "gin_trgm_ops"),), (clause,), "gin", extension="pg_trgm")
        return None

    def _searched(self, operator: str, left: Expression, clause: Expression) -> Way | None:
        key = self._plain(left)
        if not isinstance(key, Column) and not self._classes.may_be_indexed(self._alias, self._table, key):
            return None
        found = self._classes.search_class(self._alias, self._table, key, operator)
        if found is None:
            return None
        method, operator_class = found
        kind: Kind = "range" if method == "btree" else "search"
        return Way(kind, (Key(bare(key), operator_class),), (clause,), method)


def merged(ways: Sequence[Way]) -> list[Way]:
    """Two bounds of one key are one range; an equality makes other conditions on its key needless."""
    found: dict[tuple[object, ...], Way] = {}
    for way in ways:
        slot = (way.kind, way.method, way.name, way.join.clause if way.join is not None else None)
        before = found.get(slot)
        if before is None or way.join is not None:
            found[slot] = way
        elif way.kind != "equal":
            found[slot] = replace(before, clauses=(*before.clauses, *way.clauses))
    return list(found.values())


def _count(array: Expression) -> int:
    """How many values an array has."""
    for part in walk(array):
        if isinstance(part, Row):
            return max(1, len(part.parts))
        if isinstance(part, Constant):
            return part.text.count(",") + 1
    return _UNKNOWN_VALUES


def flattened(clauses: Sequence[Expression]) -> list[Expression]:
    """Conditions that must all hold, one by one."""
    return [
        part for clause in clauses for part in (conjuncts(clause) if isinstance(clause, Both) else (clause,))
    ]


def names_partition(table: TableFacts, clause: Expression) -> bool:
    """Whether the condition says which partition of a table by LIST is read: in there it holds for all rows, or nearly."""
    match clause:
        case Operation("=", Column(_, name), value) | Operation("=", Cast(Column(_, name)), value):
            return name == table.listed and not columns_of(value)
        case _:
            return False
