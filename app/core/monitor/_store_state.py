"""Valkey: its memory, what it evicts, and whether it can save."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.core.monitor._figures import size
from app.core.monitor._panel import Finding
from app.core.valkey import ValkeyClient

_BUDGET_S = 1.0


@dataclass(frozen=True, slots=True)
class StoreState:
    """Of the server that answered (one node of a Cluster). Bytes; ``memory_limit`` 0: none. Hits and misses of keys since it started:
    limits look for keys that are not there yet, so this is no hit rate of a cache. ``keys`` of the database that we use.
    """

    version: str
    uptime_s: int
    clients: int
    memory: int
    memory_limit: int
    policy: str
    fragmentation: float
    keys: int
    key_hits: int
    key_misses: int
    evicted: int
    expired: int
    operations_a_second: int
    saves: bool
    findings: tuple[Finding, ...]

    @property
    def memory_percent(self) -> float | None:
        """Of the limit; None without one."""
        return round(100.0 * self.memory / self.memory_limit, 1) if self.memory_limit else None

    @property
    def key_hit_percent(self) -> float | None:
        """None: nobody asked for a key."""
        asked = self.key_hits + self.key_misses
        return round(100.0 * self.key_hits / asked, 2) if asked else None


async def store_state(store: ValkeyClient, *, warn_percent: float = 85.0) -> StoreState:
    """What Valkey says of itself (INFO). Raises StoreError (503) when it does not answer.

    Found are memory at ``warn_percent`` of the limit (critical when nothing may be evicted: writes are refused then), evictions (limits,
    holds and idempotent answers go with them, not only what is cached), and a snapshot or log that cannot be written.
    https://valkey.io/commands/info/
    """
    info = _parsed(await store.execute("INFO", timeout_s=_BUDGET_S))
    keys = await store.execute("DBSIZE", timeout_s=_BUDGET_S)
    state = StoreState(
        version=info.get("valkey_version") or info.get("redis_version", "unknown"),
        uptime_s=_int(info, "uptime_in_seconds"),
        clients=_int(info, "connected_clients"),
        memory=_int(info, "used_memory"),
        memory_limit=_int(info, "maxmemory"),
        policy=info.get("maxmemory_policy", "unknown"),
        fragmentation=float(info.get("mem_fragmentation_ratio", "0")),
        keys=int(keys),
        key_hits=_int(info, "keyspace_hits"),
        key_misses=_int(info, "keyspace_misses"),
        evicted=_int(info, "evicted_keys"),
        expired=_int(info, "expired_keys"),
        operations_a_second=_int(info, "instantaneous_ops_per_sec"),
        saves=info.get("rdb_last_bgsave_status", "ok") == info.get("aof_last_write_status", "ok") == "ok",
        findings=(),
    )
    return _with_findings(state, warn_percent)


def _parsed(answer: bytes | str) -> Mapping[str, str]:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    lines = (line.partition(":") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in lines}


def _int(info: Mapping[str, str], name: str) -> int:
    return int(info.get(name, "0"))


def _with_findings(state: StoreState, warn_percent: float) -> StoreState:
    findings = []
    used = state.memory_percent
    if used is not None and used >= warn_percent:
        findings.append(_full(state, used))
    if state.evicted:
        findings.append(
            Finding(
                check="valkey.evicted",
                severity="warning",
                subject="maxmemory_policy",
                title="Valkey throws keys away to stay under its limit",
                evidence=f"{state.evicted:,} keys in {state.uptime_s:,} s, policy {state.policy}",
                fix="Give it more memory; with evictions, counts of limits and idempotent answers are lost too",
            )
        )
    if not state.saves:
        findings.append(
            Finding(
                check="valkey.saves",
                severity="critical",
                subject="persistence",
                title="Valkey cannot write its data to disk",
                evidence="the last snapshot or the last write of the log failed",
                fix="See its log: most often the disk is full; it may refuse writes until it can save",
            )
        )
    values = {name: getattr(state, name) for name in StoreState.__dataclass_fields__}
    return StoreState(**{**values, "findings": tuple(findings)})


def _full(state: StoreState, used: float) -> Finding:
    refuses = state.policy == "noeviction"
    return Finding(
        check="valkey.memory",
        severity="critical" if refuses else "warning",
        subject="maxmemory",
        title=f"Valkey uses {used} % of the memory it may have",
        evidence=f"{size(state.memory)} of {size(state.memory_limit)}, policy {state.policy}",
        fix="Give it more; at 100 % it refuses writes"
        if refuses
        else "Give it more; at 100 % it throws keys away",
    )
