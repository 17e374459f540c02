"""How long a value is kept, how long anybody waits for it, and what may be stored at all."""

from dataclasses import dataclass

# A tag's version outlives every entry that carries it; the longest entry lives 8 days and a tenth of one.
TAG_LIFE_MS = 14 * 86_400_000
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.")
_RANGES: dict[str, tuple[float, float]] = {
    "ttl": (0.001, 86_400),
    "stale": (0, 604_800),
    "soft_timeout": (0, 60),
    "hard_timeout": (0.001, 60),
    "negative_ttl": (0, 86_400),
    "jitter": (0, 0.5),
    "max_bytes": (0, 16_777_216),
    "fail_safe": (0, 3_600),
    "lease": (0.001, 600),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """Options of ``Cache.get_or_set``; all times in seconds.

    ttl: for which a value is fresh, spread by +-``jitter`` so that entries do not end together.
    stale: after that, for which the old value may be shown while a new one is made, or because making one failed.
    soft_timeout: how long a caller waits for a new value before the stale one is shown; making it goes on.
    hard_timeout: how long a caller waits for somebody else's computation of a missing value before making it himself.
    negative_ttl: for which ``None`` is kept as a value of its own; 0: not at all.
    eager: make a new value in the background before the old one ends, with the probability of XFetch (Vattani et al., VLDB 2015).
    jitter: share of ttl.
    max_bytes: a larger value, as stored, is not kept.
    fail_safe: for which a stale value counts as fresh after making a new one failed, so that a broken source is left in peace.
    lease: longest time that making a value may take and still be stored; None: twice hard_timeout. After a crash of the one who makes
        it the others make the value themselves when this is over.
    sealed: store encrypted; needs a cache with a sealer.
    name: what metrics call it.

    Raises ValueError for a value out of range.
    """

    ttl: float
    stale: float = 0.0
    soft_timeout: float = 0.5
    hard_timeout: float = 5.0
    negative_ttl: float = 0.0
    eager: bool = False
    jitter: float = 0.1
    max_bytes: int = 262_144
    fail_safe: float = 30.0
    lease: float | None = None
    sealed: bool = False
    name: str = "default"

    def __post_init__(self) -> None:
        for field, (least, most) in _RANGES.items():
            value = getattr(self, field)
            if field == "lease" and value is None:
                continue
            if isinstance(value, bool) or not least <= value <= most:
                raise ValueError(f"CacheOptions.{field} must be {least:,} to {most:,}, not {value!r}")
        if not self.name or len(self.name) > 63 or not _NAME.issuperset(self.name):
            raise ValueError(
                f"CacheOptions.name must be 1 to 63 of lower-case letters, digits, _ and ., not {self.name!r}"
            )

    @property
    def lease_ms(self) -> int:
        """Milliseconds of a lease."""
        return milliseconds(2 * self.hard_timeout if self.lease is None else self.lease)


def milliseconds(seconds: float) -> int:
    """At least 1 for anything above 0: Valkey refuses a life of 0 ms."""
    return max(round(seconds * 1000), 1 if seconds > 0 else 0)
