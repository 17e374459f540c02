"""Operators, types and functions, asked of the server's catalogs: which index can serve what."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.core.monitor.advice._expressions import (
    Call,
    Cast,
    Collated,
    Column,
    Constant,
    Expression,
    IsTest,
    OfArray,
    Operation,
    Row,
    columns_of,
    is_understood,
    parts_of,
    walk,
)
from app.core.monitor.advice._tables import TableFacts

_METHODS = ("btree", "gin", "gist")
_LENGTH = re.compile(r"\([\d,]+\)")
_GRAMMAR = frozenset({"coalesce", "greatest", "least", "nullif"})
_INET = frozenset({"inet", "cidr"})


@dataclass(frozen=True, slots=True)
class Known:
    """A function or operator: its volatility (i, s, v) and what it takes."""

    volatility: str
    arguments: tuple[int, ...] = ()
    count: int = 0
    left: int = 0
    right: int = 0
    is_builtin: bool = False


@dataclass(frozen=True)
class Classes:
    """What was asked; answers of nothing mean no. Made by ``classes_of``."""

    types: Mapping[tuple[str, Expression], tuple[int, str]] = field(default_factory=dict)
    serving: Mapping[tuple[str, int], tuple[tuple[str, str, bool], ...]] = field(default_factory=dict)
    ordering: Mapping[tuple[str, int], tuple[tuple[str, str, bool], ...]] = field(default_factory=dict)
    functions: Mapping[str, tuple[Known, ...]] = field(default_factory=dict)
    operators: Mapping[str, tuple[Known, ...]] = field(default_factory=dict)
    casts: Mapping[tuple[int, str], str] = field(default_factory=dict)
    own_types: frozenset[str] = frozenset()
    has_trigrams: bool = False

    def is_volatile(self, expression: Expression) -> bool:
        """Whether it may have another value for each row: an index cannot be asked for that."""
        calls = (it for it in walk(expression) if isinstance(it, Call) and it.form == "")
        return any(
            known.volatility == "v" for call in calls for known in self.functions.get(function_of(call), ())
        )

    def type_oid(self, alias: str, table: TableFacts, expression: Expression) -> int | None:
        """The type's oid, None if it could not be told."""
        if isinstance(expression, Column):
            column = table.columns.get(expression.name)
            return column.type_oid if column is not None else None
        found = self.types.get((alias, expression))
        return found[0] if found is not None else None

    def type_of(self, alias: str, table: TableFacts, expression: Expression) -> str | None:
        """The type's name."""
        if isinstance(expression, Column):
            column = table.columns.get(expression.name)
            return column.type if column is not None else None
        found = self.types.get((alias, expression))
        return found[1] if found is not None else None

    def has_btree(self, alias: str, table: TableFacts, key: Expression, operator: str) -> bool:
        """Whether a b-tree of the key serves the operator."""
        oid = self.type_oid(alias, table, key)
        return any(it[0] == "btree" for it in self.serving.get((operator, oid or 0), ()))

    def pattern_class(self, alias: str, table: TableFacts, key: Expression) -> str | None:
        """The operator class that makes a b-tree serve LIKE 'x%': none needed where text is ordered by bytes."""
        names = [it.name for it in columns_of(key)]
        if all(table.columns[name].sorts_bytewise for name in names if name in table.columns):
            return None
        return {"character varying": "varchar_pattern_ops", "character": "bpchar_pattern_ops"}.get(
            self.type_of(alias, table, key) or "", "text_pattern_ops"
        )

    def search_class(
        self, alias: str, table: TableFacts, key: Expression, operator: str
    ) -> tuple[str, str | None] | None:
        """Method and operator class (None: the usual one) that serve an operator beyond order."""
        oid = self.type_oid(alias, table, key) or 0
        if operator in {"<<", "<<="} and self.type_of(alias, table, key) in _INET:
            return "btree", None  # The planner makes a range of it.
        found = [it for it in self.serving.get((operator, oid), ()) if it[0] in _METHODS]
        found.sort(key=lambda it: (not it[2], _METHODS.index(it[0]), it[1]))
        return (found[0][0], None if found[0][2] else found[0][1]) if found else None

    def distance_class(self, alias: str, table: TableFacts, key: Expression, operator: str) -> str | None:
        """The GiST operator class that walks in order of a distance; '' for the usual one."""
        oid = self.type_oid(alias, table, key) or 0
        found = [it for it in self.ordering.get((operator, oid), ()) if it[0] == "gist"]
        return ("" if found[0][2] else found[0][1]) if found else None

    def may_be_indexed(self, alias: str, table: TableFacts, expression: Expression) -> bool:
        """Whether it has the same value for a row for ever, as an index needs, and is more than another spelling of a column."""
        if not is_understood(expression) or _is_spelling(expression):
            return False
        return all(self._is_fixed(alias, table, part) for part in walk(expression))

    def is_builtin(self, expression: Expression) -> bool:
        """Whether all that computes in it is PostgreSQL's own: functions, operators and the types of casts."""
        return all(map(self._is_own, walk(expression)))

    def _is_own(self, part: Expression) -> bool:
        match part:
            case Call():
                known = self.functions.get(function_of(part), ())
                is_own = bool(known) and all(it.is_builtin for it in known)
                return is_own or function_of(part) in _GRAMMAR or part.form != ""
            case Operation(operator, _, _) | OfArray(operator, _, _, _):
                found = self.operators.get(operator, ())
                return bool(found) and all(it.is_builtin for it in found)
            case Cast(_, kind):
                return base_of(kind) in self.own_types
            case _:
                return True

    def _is_fixed(self, alias: str, table: TableFacts, part: Expression) -> bool:
        match part:
            case Call():
                return self._is_fixed_call(alias, table, part)
            case Operation(operator, _, _) | OfArray(operator, _, _, _):
                return self._is_fixed_operation(alias, table, part, operator)
            case Cast(of, target):
                return self._is_fixed_cast(alias, table, of, target)
            case Column() | Constant() | Row() | IsTest() | Collated():
                return True
            case _:
                return False

    def _is_fixed_call(self, alias: str, table: TableFacts, call: Call) -> bool:
        name = function_of(call)
        if name in _GRAMMAR:
            return True
        known = [
            it
            for it in self.functions.get(name, ())
            if call.form == "extract" or it.count >= len(call.arguments)
        ]
        given = [self.type_oid(alias, table, it) for it in call.arguments]
        if call.form == "extract":
            given = [25, *given]
        exact = [it for it in known if list(it.arguments) == given]
        return bool(known) and all(it.volatility == "i" for it in exact or known)

    def _is_fixed_operation(self, alias: str, table: TableFacts, part: Expression, operator: str) -> bool:
        known = self.operators.get(operator, ())
        given = [self.type_oid(alias, table, it) for it in parts_of(part)]
        if isinstance(part, OfArray):
            given = [given[0], given[0]]
        exact = [it for it in known if [it.left, it.right][-len(given) :] == given]
        return bool(known) and all(it.volatility == "i" for it in exact or known)

    def _is_fixed_cast(self, alias: str, table: TableFacts, of: Expression, target: str) -> bool:
        if isinstance(of, Constant):
            return True
        oid = self.type_oid(alias, table, of)
        return self.casts.get((oid or 0, target.split("(", maxsplit=1)[0])) == "i"


def function_of(call: Call) -> str:
    """The name that the catalogs have."""
    if call.form == "extract":
        return "extract"
    name = call.name.rsplit(".", 1)[-1].strip('"')
    return name.lower() if name.lower() in _GRAMMAR else name


def base_of(kind: str) -> str:
    """A type without its length: ``timestamp(3) with time zone`` and ``numeric(10,2)`` are printed so."""
    return _LENGTH.sub("", kind).removesuffix("[]")


def _is_spelling(expression: Expression) -> bool:
    """``(id)::text`` and ``price * 2``: the column itself can be compared instead. A date of a moment and a field of a document are not."""
    match expression:
        case Cast(Column(), target):
            return target != "date"
        case Cast(of, _):
            return _is_spelling(of)
        case Operation("+" | "-" | "*" | "/" | "%", left, right):
            return any(
                isinstance(it, Column) or (it is not None and _is_spelling(it)) for it in (left, right)
            )
        case _:
            return False
