"""What the trackers need to know of a statement's text, found once for each text."""

import re
from functools import lru_cache
from typing import NamedTuple

from app.core.db import reads_tables
from app.core.monitor._redaction import redacted

_MOST_TEXT = 4_000  # A statement of a megabyte must not be kept, nor cost its length each time.
_OFFSET = re.compile(r"\boffset\b", re.IGNORECASE)
# A page after a key: a column, or a row of columns, beyond a value, then ORDER BY ... LIMIT. One after the other, so that no text is
# searched more than once.
_KEYSET = tuple(
    re.compile(part, re.IGNORECASE) for part in (r"[<>]\s*(?:\?|\()", r"\border by\b", r"\blimit\b")
)


class KnownStatement(NamedTuple):
    """``shape``: without values, of utility statements the verb. ``reads``: of somebody's tables. ``pages``: one page of a list, the next
    of which differs in parameters only.
    """

    shape: str
    reads: bool
    pages: bool


def known_statement(text: str) -> KnownStatement:
    """What is known of ``text``, of which 4,000 characters count. The last 1,024 texts are remembered: 4 MB at most."""
    return _known(text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT])


@lru_cache(maxsize=1024)
def _known(text: str) -> KnownStatement:
    shape = redacted(text)
    return KnownStatement(shape, reads_tables(shape), bool(_OFFSET.search(shape)) or _is_keyset(shape))


def _is_keyset(shape: str) -> bool:
    at = 0
    for part in _KEYSET:
        found = part.search(shape, at)
        if found is None:
            return False
        at = found.end()
    return True
