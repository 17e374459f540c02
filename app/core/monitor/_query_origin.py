"""Where a statement came from, by the comment that whoever sent it put behind it (sqlcommenter).

Anybody who can have a comment in a statement can write anything there, so nothing is believed but two names, and they are made
harmless for a terminal and a page: https://google.github.io/sqlcommenter/spec/
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

_LONGEST_COMMENT, _LONGEST_VALUE, _MOST_TAGS = 2_000, 200, 20
_TAG = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.%-]{0,63})='((?:[^'\\]|\\.)*)'\s*(?:,|\Z)")


@dataclass(frozen=True, slots=True, order=True)
class QueryOrigin:
    """The policy and the route template that a statement was sent for; what was not said is empty."""

    route: str = ""
    policy: str = ""


def query_origin(statement: str) -> QueryOrigin | None:
    """What the comment at the end of ``statement`` says; None without one that says anything of it.

    Values are decoded, cut at 200 characters, and what does not print is escaped. The end of a text is enough.
    """
    text = statement[-_LONGEST_COMMENT:].rstrip(" \t\r\n;")
    start = text.rfind("/*")
    if start < 0 or not text.endswith("*/"):
        return None
    comment = text[start + 2 : -2]
    tags: dict[str, str] = {}
    place = 0
    while len(tags) < _MOST_TAGS and (tag := _TAG.match(comment, place)):
        tags.setdefault(tag[1], _harmless(tag[2]))
        place = tag.end()
    origin = QueryOrigin(tags.get("route", ""), tags.get("policy", ""))
    return origin if origin != QueryOrigin() else None


def _harmless(value: str) -> str:
    text = unquote(value[: _LONGEST_VALUE * 3], errors="replace")[:_LONGEST_VALUE]
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)[:_LONGEST_VALUE]


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
