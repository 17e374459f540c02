"""Valkey: one auto-pipelined connection per process, Lua scripts by name, the cache, and what can go wrong."""

from app.core.valkey._cache import Cache
from app.core.valkey._cache_calls import (
    configure_cache,
    configured_cache,
    default_cache,
    get_or_set_cache,
    get_or_set_many,
)
from app.core.valkey._cache_entries import CACHE_SCRIPTS, TAG_SCRIPT, Put, Seen, lease_key
from app.core.valkey._cache_entry import Entry, Freshness, freshness, is_due
from app.core.valkey._cache_making import is_making, spoil
from app.core.valkey._cache_options import TAG_LIFE_MS, CacheOptions
from app.core.valkey._cache_scope import Scope, check_scope, scoped_key
from app.core.valkey._cache_values import Sealer, Unkept
from app.core.valkey._client import ValkeyClient
from app.core.valkey._errors import StoreDown, StoreError, StoreOverloaded, StoreReplyError, StoreTimeout
from app.core.valkey._keys import escape, tag_key
from app.core.valkey._packed_call import Gap, PackedCall, packed_parts
from app.core.valkey._script import Script

__all__ = [
    "CACHE_SCRIPTS",
    "TAG_LIFE_MS",
    "TAG_SCRIPT",
    "Cache",
    "CacheOptions",
    "Entry",
    "Freshness",
    "Gap",
    "PackedCall",
    "Put",
    "Scope",
    "Script",
    "Sealer",
    "Seen",
    "StoreDown",
    "StoreError",
    "StoreOverloaded",
    "StoreReplyError",
    "StoreTimeout",
    "Unkept",
    "ValkeyClient",
    "check_scope",
    "configure_cache",
    "configured_cache",
    "default_cache",
    "escape",
    "freshness",
    "get_or_set_cache",
    "get_or_set_many",
    "is_due",
    "is_making",
    "lease_key",
    "packed_parts",
    "scoped_key",
    "spoil",
    "tag_key",
]
