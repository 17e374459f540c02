"""By what a stored answer is known."""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from app.core.policies import Caller

Scope = Mapping[str, Any]


def digest_of(*parts: str) -> str:
    """One name for all that an answer depends on. repr tells where one part ends and the next begins, whatever is in them."""
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


known_digest = lru_cache(maxsize=4096)(digest_of)
"""The same, remembered: for what is short."""


def rights_of(scope: Scope, caller: Caller) -> str:
    """What keeps callers of other rights apart."""
    if caller.principal is not None:
        return caller.principal.rights
    # Of one network, but perhaps not one person: what a handler knows him by keeps them apart.
    known = [pair for pair in scope["headers"] if pair[0] in (b"authorization", b"x-api-key", b"cookie")]
    return repr(known) if known else ""
