"""What is kept in memory, here, in PostgreSQL and in Valkey."""

from pydantic import BaseModel

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.out import Out


class OwnCacheOut(Out):
    """One cache of the process that answered, since it started. ``kind``: values, or answers of an endpoint."""

    name: str
    kind: str
    asked: int
    served: int
    hit_percent: float | None
    events: dict[str, int]


class BlocksOut(Out):
    """Blocks found in shared memory, and asked of the system."""

    hits: int
    reads: int
    hit_percent: float | None


class CachedTableOut(BlocksOut):
    """A table with its indexes and TOAST."""

    table: str


class BuffersOut(Out):
    """Blocks in the last ``seconds``; ``is_window`` false: since the counters began, as there was one look only."""

    seconds: float
    is_window: bool
    hit_percent: float | None
    heap: BlocksOut
    index: BlocksOut
    toast: BlocksOut
    contexts: dict[str, BlocksOut]
    tables: list[CachedTableOut]


class StoreOut(Out):
    """Valkey, of the server that answered. Hits and misses of keys are no hit rate of a cache: limits look for keys that are not there."""

    version: str
    uptime_s: int
    clients: int
    memory: int
    memory_limit: int
    memory_percent: float | None
    policy: str
    fragmentation: float
    keys: int
    key_hits: int
    key_misses: int
    key_hit_percent: float | None
    evicted: int
    expired: int
    operations_a_second: int
    saves: bool


class CacheOut(BaseModel):
    """Parts fail alone: ``unavailable`` says by name (buffers, store) why a part is null."""

    own: list[OwnCacheOut]
    buffers: BuffersOut | None
    store: StoreOut | None
    unavailable: dict[str, str]
    findings: list[FindingOut]
