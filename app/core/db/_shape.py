"""The shape of a statement: its text without values.

Two statements of one shape differ in their parameters and literals only. Shapes may be shown and logged: they
hold no data. Quoted identifiers stay, because they are names.
"""

import re
from functools import lru_cache

_MAX_TEXT = 20_000  # Longer text is cut before it is read: one statement must not cost milliseconds.

# One pass, first match wins: what stands inside a literal or a comment is never taken for anything else.
_TOKEN = re.compile(
    r"""
    (?P<comment>   /\*(?:[^*/]|\*(?!/)|/(?!\*))*(?:\*/|$) | --[^\n]* )
  | (?P<nested>    /\*.* )
  | (?P<name>      "(?:[^"]|"")*(?:"|$) )
  | (?P<literal>   \b[eE]'(?:[^'\\]|\\.|'')*(?:'|$) | (?:\b(?:[xXbBnN]|[uU]&))?'(?:[^']|'')*(?:'|$) )
  | (?P<dollar>    \$(?P<tag>[A-Za-z_]\w*)?\$.*?(?:\$(?P=tag)\$|$) | \$\$.*?(?:\$\$|$) )
  | (?P<parameter> \$\d+(?:::[A-Za-z_]\w*(?:\ (?:WITH|WITHOUT)\ TIME\ ZONE|\ PRECISION|\ VARYING)?(?:\(\d+(?:,\ ?\d+)?\))?(?:\[\])*)? )
  | (?P<number>    (?<![\w$.])(?:0[xXoObB][0-9a-fA-F_]+|\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?) )
  | (?P<space>     \s+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS = {
    "comment": " ",
    "nested": " ",
    "literal": "?",
    "dollar": "?",
    "parameter": "?",
    "number": "?",
    "space": " ",
}
_LIST = re.compile(r"\(\s*\?(?:\s*,\s*\?)*\s*\)")
_LISTS = re.compile(r"\(\.\.\.\)(?:\s*,\s*\(\.\.\.\))+")
_SPACES = re.compile(r" {2,}")
_READS = re.compile(r"\(*\s*(?:select|with|table|values)\b", re.IGNORECASE)
_HAS_TABLE = re.compile(r"\b(?:from|table)\b", re.IGNORECASE)
_CATALOG = re.compile(r"\b(?:pg_catalog|information_schema)\b|\b(?:from|join)\s+pg_\w", re.IGNORECASE)


@lru_cache(maxsize=2048)
def shape_of(statement: str) -> str:
    """``statement`` with every value as ``?``, every list of values as ``(...)``, no comments, single spaces.

    Text after 20,000 characters is left out, and all from a comment inside a comment on.
    """
    text = _TOKEN.sub(_replacement, statement[:_MAX_TEXT])
    text = _LISTS.sub("(...)", _LIST.sub("(...)", text))
    return _SPACES.sub(" ", text).strip(" ;")


def _replacement(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    return match[0] if kind == "name" else _KINDS.get(kind, "?")


@lru_cache(maxsize=2048)
def reads_tables(shape: str) -> bool:
    """Whether a shape is a read of somebody's tables: no write, no ``SELECT 1``, no question to the catalog."""
    return bool(_READS.match(shape) and _HAS_TABLE.search(shape) and not _CATALOG.search(shape))
