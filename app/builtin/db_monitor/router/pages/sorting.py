"""Links that sort, page and choose: the same page with another query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Sorting:
    """What a table is sorted by. ``name`` is the table's, for the ids of its links; ``query`` what the page was asked for."""

    name: str
    key: str
    query: Mapping[str, Any]
    is_descending: bool = True

    def link(self, key: str) -> str:
        """The page sorted by ``key``."""
        return with_query(self.query, sort=key)


def asked_for(query: BaseModel) -> dict[str, Any]:
    """What the reader chose; what is as without him is left out."""
    return query.model_dump(exclude_defaults=True, exclude_none=True)


def with_query(query: Mapping[str, Any], **changes: Any) -> str:
    """The link to this page with other values; None takes one away."""
    values = {name: value for name, value in {**query, **changes}.items() if value is not None}
    return "?" + urlencode(values)
