"""Which texts the server gets to see at all.

Security does not rest on reading text: the protocol takes one statement, and the server says what it is. What is refused here would cost
the server, or this process, more than a statement may (size, nesting, parameters), or is refused in clearer words than the server's code
gives. The one word that is decided on is the first: whatever begins with one of these is a query or INSERT, UPDATE, DELETE, MERGE by the
server's grammar, and nothing in front of it but blanks and comments can be anything else.
"""

import re
from collections.abc import Iterator
from typing import Final

from app.core.db import readable
from app.core.monitor._explain import StatementRefused

MAX_NESTING: Final = 250
MAX_PARAMETERS: Final = 1_000
_BEGINS = frozenset({"select", "insert", "update", "delete", "merge", "with", "values", "table"})
_BYTES = 100_000
_PART = re.compile(
    r"""
    (?P<blank>     [ \t\n\r\f\v]+ | --[^\n\r]* )
  | (?P<comment>   /\* )
  | (?P<quoted>    "(?:[^"]|"")*(?:"|$) | [eE]'(?:[^'\\]|\\.|'')*(?:'|$) | (?:[uU]&|[bBxXnN])?'(?:[^']|'')*(?:'|$)
                   | \$(?P<tag>[A-Za-z_\x80-\U0010ffff][0-9A-Za-z_\x80-\U0010ffff]*)?\$.*?(?:\$(?P=tag)\$|$) | \$\$.*?(?:\$\$|$) )
  | (?P<parameter> \$\d+ )
  | (?P<word>      [A-Za-z_\x80-\U0010ffff][0-9A-Za-z_$\x80-\U0010ffff]* )
  | (?P<sign>      [()\[\];] )
  | (?P<other>     [0-9][0-9A-Za-z_.]* | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def admitted(sql: str) -> str:
    """``sql`` if it may be sent to the server to be planned. Raises QueryNotExplainable (422) that says what is wrong with it.

    At most 100,000 bytes, 250 levels of brackets, parameters up to ``$1000``; one SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES or TABLE.
    """
    if len(readable(sql).encode()) > _BYTES:
        raise StatementRefused("it is longer than 100,000 bytes")
    parts = _parts(sql)
    first = next((part for part in parts if part != ("sign", ";")), ("", ""))
    if first[1].lower() not in _BEGINS and first[1] != "(":
        raise StatementRefused("it is not one SELECT, INSERT, UPDATE, DELETE, MERGE or VALUES")
    _check_rest(parts, depth=int(first[1] == "("))
    return sql


def has_parameters(sql: str) -> bool:
    """Whether ``sql`` has ``$n``, so that its plan is one for any values. For showing only."""
    return any(kind == "parameter" for kind, _text in _parts(sql))


def _check_rest(parts: Iterator[tuple[str, str]], depth: int) -> None:
    is_over = False
    for kind, text in parts:
        if is_over and text != ";":
            raise StatementRefused("it is more than one statement")
        if kind == "sign":
            depth += 1 if text in "([" else -1 if text in ")]" else 0
            is_over = is_over or (text == ";" and depth <= 0)
        if depth > MAX_NESTING:
            raise StatementRefused("it is nested too deeply")
        if kind == "parameter" and (len(text) > 5 or int(text[1:]) > MAX_PARAMETERS):
            raise StatementRefused("its parameters are numbered too high")


def _parts(sql: str) -> Iterator[tuple[str, str]]:
    """Kind and text of what is neither blank nor comment."""
    place = 0
    while (match := _PART.match(sql, place)) is not None:
        kind = _kind(match)
        place = _after_comment(sql, match.end()) if kind == "comment" else match.end()
        if kind not in {"blank", "comment"}:
            yield kind, match[0]


def _kind(match: re.Match[str]) -> str:
    kind = match.lastgroup or "other"
    return "quoted" if kind == "tag" else kind


def _after_comment(sql: str, place: int) -> int:
    """Where the comment that began before ``place`` ends; comments nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, place):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)
