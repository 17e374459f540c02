"""Where a person goes after he signed in: a page of ours, whatever the address says."""

import re

from app.core.http._security_headers import PAGES

_LONGEST = 2000
# Characters of RFC 3986 alone: no backslash, no white space, nothing that a browser might read as the beginning of another host.
_PAGE = re.compile(
    rf"{PAGES}(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*/?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
).fullmatch
_UPWARD = re.compile(r"/(?:\.|%2e){1,2}(?:[/?]|$)", re.IGNORECASE).search
_DOORS = frozenset({f"{PAGES}/login", f"{PAGES}/login/mfa", f"{PAGES}/logout"})


def next_page(wanted: str) -> str:
    """``wanted`` if it is a path under ``/ui`` that shows something, otherwise ``/ui``: never another host, another part of this one, or
    the forms of signing in and out.
    """
    is_page = (
        len(wanted) <= _LONGEST and _PAGE(wanted) is not None and _UPWARD(wanted.partition("?")[0]) is None
    )
    return wanted if is_page and wanted.partition("?")[0].rstrip("/") not in _DOORS else PAGES
