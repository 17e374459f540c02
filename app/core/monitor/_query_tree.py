"""What a statement is made of, as the server itself understood it: every function, operator and type, views and row security expanded.

``debug_print_rewritten`` makes the server send the analysed and rewritten tree of each statement that it parses. Nothing of the statement
has run by then, nothing in it is a name any more that could be read in two ways, and no text of it is looked at here. What is not known
to be harmless is refused: the shapes of nodes are those of PostgreSQL 15 to 18, and a new one is no known one.

https://www.postgresql.org/docs/current/runtime-config-developer.html, src/include/nodes/{parsenodes,primnodes}.h, src/backend/nodes/print.c
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from app.core.monitor._explain import StatementRefused

SHOW_TREE: Final = "SET LOCAL debug_pretty_print = off; SET LOCAL client_min_messages = log; SET LOCAL debug_print_rewritten = on"
_LARGEST = 1_000_000
_LINE = 78  # Bytes; the server breaks the tree into such lines, at a blank where there is one.
_TOKEN = re.compile(r"[(){}]|(?:\\.|[^\s(){}\\])+", re.DOTALL)
_LIST = re.compile(r"[oi]")

_HARMLESS = frozenset(
    [
        "QUERY",
        "ALIAS",
        "RANGETBLENTRY",
        "RTE",
        "RTEPERMISSIONINFO",
        "RANGETBLREF",
        "RANGETBLFUNCTION",
        "FROMEXPR",
        "JOINEXPR",
        "TARGETENTRY",
        "VAR",
        "CONST",
        "PARAM",
        "FUNCEXPR",
        "NAMEDARGEXPR",
        "OPEXPR",
        "DISTINCTEXPR",
        "NULLIFEXPR",
        "SCALARARRAYOPEXPR",
        "BOOLEXPR",
        "SUBLINK",
        "RELABELTYPE",
        "COERCEVIAIO",
        "ARRAYCOERCEEXPR",
        "COLLATEEXPR",
        "COLLATE",
        "CASEEXPR",
        "CASE",
        "CASEWHEN",
        "WHEN",
        "CASETESTEXPR",
        "ARRAYEXPR",
        "ARRAY",
        "ROWEXPR",
        "ROW",
        "ROWCOMPAREEXPR",
        "ROWCOMPARE",
        "COALESCEEXPR",
        "COALESCE",
        "MINMAXEXPR",
        "MINMAX",
        "SQLVALUEFUNCTION",
        "NULLTEST",
        "BOOLEANTEST",
        "COERCETODOMAIN",
        "COERCETODOMAINVALUE",
        "AGGREF",
        "GROUPINGFUNC",
        "WINDOWFUNC",
        "SUBSCRIPTINGREF",
        "FIELDSELECT",
        "SORTGROUPCLAUSE",
        "GROUPINGSET",
        "WINDOWCLAUSE",
        "COMMONTABLEEXPR",
        "CTESEARCHCLAUSE",
        "CTECYCLECLAUSE",
        "SETOPERATIONSTMT",
    ]
)
_FUNCTIONS = frozenset(
    [
        ":funcid",
        ":opfuncid",
        ":hashfuncid",
        ":negfuncid",
        ":aggfnoid",
        ":winfnoid",
        ":startInRangeFunc",
        ":endInRangeFunc",
    ]
)
_OPERATORS = frozenset((":opno", ":opnos", ":eqop", ":sortop", ":cycle_mark_neop"))
_TYPE = re.compile(r":\w*type(?:s|id|Id)?", re.IGNORECASE)
_MUST_BE = {
    ":commandType": (frozenset({"1"}), "it would change rows"),
    ":hasModifyingCTE": (frozenset({"false"}), "it would change rows"),
    ":hasForUpdate": (frozenset({"false"}), "it would lock rows"),
    ":utilityStmt": (frozenset({"<>"}), "it is no SELECT"),
    ":relkind": (frozenset("rpmv\0") | {"<>"}, "it reads what is no table or view of this server"),
}


@dataclass(slots=True)
class Ingredients:
    """Identifiers (oid) of what a tree calls and touches."""

    functions: set[int] = field(default_factory=set)
    operators: set[int] = field(default_factory=set)
    types: set[int] = field(default_factory=set)

    def add(self, tree: str) -> None:
        """Take in what ``tree``, in the server's notation, names. Raises StatementRefused for anything that is not known to only read."""
        words = _TOKEN.findall(tree)
        for place, word in enumerate(words):
            rest = words[place + 1 : place + 2]
            if word == "{":
                _check_node(rest)
            elif word in _MUST_BE:
                _check_field(word, rest)
            elif word in _FUNCTIONS:
                self.functions.update(_numbers(words, place + 1))
            elif word in _OPERATORS:
                self.operators.update(_numbers(words, place + 1))
            elif _TYPE.fullmatch(word):
                self.types.update(_numbers(words, place + 1, is_certain=False))


def whole(message: str) -> str:
    """A tree that the server broke into lines, as one.

    Raises StatementRefused where a break may stand inside a name, and for a tree that would take long to look through.
    """
    if len(message) > _LARGEST:
        raise StatementRefused("it is too large to be looked through before it runs")
    *lines, last = message.rstrip("\n").split("\n")
    for line in lines:
        is_cut = len(line.encode()) >= _LINE and " " not in line[1:]
        if is_cut or line.endswith("\\"):
            raise StatementRefused("a name in it is too long, or too odd, to be sure what it is")
    return " ".join((*lines, last))


def _check_node(rest: list[str]) -> None:
    kind = rest[0] if rest else ""
    if kind in _HARMLESS:
        return
    if kind == "ROWMARKCLAUSE":
        raise StatementRefused("it would lock rows")
    raise StatementRefused("it uses what is not known to only read")


def _check_field(name: str, rest: list[str]) -> None:
    allowed, reason = _MUST_BE[name]
    if not rest or rest[0] not in allowed:
        raise StatementRefused(reason)


def _numbers(words: list[str], start: int, *, is_certain: bool = True) -> Iterator[int]:
    """The number at ``start``, or those of a list like ``(o 96 97)``, or none for ``<>``."""
    found = words[start : start + 1]
    if found == ["("]:
        end = words.index(")", start)
        found = [word for word in words[start + 1 : end] if not _LIST.fullmatch(word)]
    for word in found:
        if word.isascii() and word.isdigit():
            if word != "0":
                yield int(word)
        elif is_certain and word != "<>":
            raise StatementRefused("it uses what is not known to only read")
