"""Valkey: one auto-pipelined connection per process, Lua scripts by name, and what can go wrong."""

from app.core.valkey._client import ValkeyClient
from app.core.valkey._errors import StoreDown, StoreError, StoreOverloaded, StoreReplyError, StoreTimeout
from app.core.valkey._keys import escape, tag_key
from app.core.valkey._script import Script

__all__ = [
    "Script",
    "StoreDown",
    "StoreError",
    "StoreOverloaded",
    "StoreReplyError",
    "StoreTimeout",
    "ValkeyClient",
    "escape",
    "tag_key",
]
