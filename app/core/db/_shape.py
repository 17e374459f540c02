"""The shape of a statement: its text without values.

Two statements of one shape differ in their parameters and literals only. Shapes may be shown and logged: they
hold no data. Quoted identifiers stay, because they are names.
"""

import re
from functools import lru_cache

_MAX_TEXT = 20_000  # Longer text is cut before it is read: one statement must not cost milliseconds.
_MAX_KEPT = 4_000  # Longer text is read anew each time: thousands of such must not stay in memory.

# One pass from left to right, as the server reads: what stands inside a literal, a comment or a name is never taken for anything else, so
# names are read too (``a$b$`` begins no literal). Beyond ASCII every letter may be part of a name or a tag.
# https://www.postgresql.org/docs/current/sql-syntax-lexical.html
_TOKEN = re.compile(
    r"""
    (?P<comment>   /\*(?:[^*/]|\*(?!/)|/(?!\*))*(?:\*/|$) | --[^\n\r]* )
  | (?P<nested>    /\*.* )
  | (?P<name>      "(?:[^"]|"")*" )
  | (?P<literal>   [eE]'(?:[^'\\]|\\(?:.|$)|'')*(?:'|$) | (?:[xXbBnN]|[uU]&)?(?:'(?:[^'\\]|\\[^']|'')*\\'.* | '(?:[^']|'')*(?:'|$)) )
  | (?P<dollar>    \$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)?)\$.*?(?:\$(?P=tag)\$|$) )
  | (?P<word>      [A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]* )
  | (?P<open>      ".* )
  | (?P<parameter> \$\d+(?:::[A-Za-z_]\w*(?:\ (?:WITH|WITHOUT)\ TIME\ ZONE|\ PRECISION|\ VARYING)?(?:\(\d+(?:,\ ?\d+)?\))?(?:\[\])*)? )
  | (?P<number>    0[xXoObB][0-9a-fA-F_]+|\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)? )
  | (?P<space>     \s+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_BLANK = frozenset({"comment", "nested", "space"})
_NAMES = frozenset({"word", "name"})
_LIST = re.compile(r"\(\s*\?(?:\s*,\s*\?)*\s*\)")
_LISTS = re.compile(r"\(\.\.\.\)(?:\s*,\s*\(\.\.\.\))+")
_SPACES = re.compile(r" {2,}")
_READS = re.compile(r"\(*\s*(?:select|with|table|values)\b", re.IGNORECASE)
_HAS_TABLE = re.compile(r"\b(?:from|table)\b", re.IGNORECASE)
_CATALOG = re.compile(r"\b(?:pg_catalog|information_schema)\b|\b(?:from|join)\s+pg_\w", re.IGNORECASE)


def shape_of(statement: str) -> str:
    """``statement`` with every value as ``?``, every list of values as ``(...)``, no comments, single spaces.

    Left out is the text after 20,000 characters, after a comment inside a comment, after a name that does not end, and after a plain
    literal with ``\\'`` in it, whose end depends on the session's ``standard_conforming_strings``. In names a space is what does not print.
    """
    if len(statement) > _MAX_KEPT:
        return _shape.__wrapped__(statement[:_MAX_TEXT])
    return _shape(statement)


@lru_cache(maxsize=2048)
def _shape(statement: str) -> str:
    text = _TOKEN.sub(_replacement, statement)
    text = _LISTS.sub("(...)", _LIST.sub("(...)", text))
    return _SPACES.sub(" ", text).strip(" ;")


def _replacement(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    if kind in _NAMES:
        return match[0] if match[0].isprintable() else "".join(_printable(letter) for letter in match[0])
    return " " if kind in _BLANK else "?"


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else " "


@lru_cache(maxsize=2048)
def reads_tables(shape: str) -> bool:
    """Whether a shape is a read of somebody's tables: no write, no ``SELECT 1``, no question to the catalog."""
    return bool(_READS.match(shape) and _HAS_TABLE.search(shape) and not _CATALOG.search(shape))
