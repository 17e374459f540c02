"""What pools of connections do, as metrics of the whole process: pools exist outside of applications too, in scripts and workers."""

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)

_size = Gauge(
    "gatehouse_pool_size",
    "Open connections, idle ones included",
    ["pool"],
    multiprocess_mode="livesum",
)
_in_use = Gauge(
    "gatehouse_pool_in_use", "Connections that somebody has", ["pool"], multiprocess_mode="livesum"
)
_waiting = Gauge(
    "gatehouse_pool_waiting",
    "Callers that wait for a connection, free or new",
    ["pool"],
    multiprocess_mode="livesum",
)
_utilization = Gauge(
    "gatehouse_pool_utilization_percent",
    "In use, of all connections that may be opened, when somebody last looked",
    ["pool"],
    multiprocess_mode="livemax",
)
_acquire = Histogram(
    "gatehouse_pool_acquire_seconds", "Time until a caller had its connection", ["pool"], buckets=_BUCKETS
)
_failures = Counter(
    "gatehouse_pool_acquire_failures_total", "Callers that got no connection", ["pool", "reason"]
)

_reads = Counter(
    "gatehouse_read_transactions_total",
    "Transactions that only read, by the server they went to and why",
    ["pool", "server", "reason"],
)
_replica_used = Gauge(
    "gatehouse_replica_used", "1 while reads go to the replica", ["pool"], multiprocess_mode="livemin"
)
_replica_lag = Gauge(
    "gatehouse_replica_lag_seconds",
    "How far the replica was behind at most, when somebody last looked and could tell",
    ["pool"],
    multiprocess_mode="livemax",
)


class PoolMeter:
    """Tells one pool's numbers; several pools of one ``name`` add up. ``name`` comes from the configuration, never from a request."""

    __slots__ = ("_acquired", "_in_use", "_name", "_size", "_told", "_waits", "waiting")

    def __init__(self, name: str) -> None:
        self._name = name
        self._size, self._in_use, self._waits = (each.labels(name) for each in (_size, _in_use, _waiting))
        self._acquired = _acquire.labels(name)
        self._told = (0, 0)
        self.waiting = 0

    def wait(self, change: int) -> None:
        """One caller more (1) or less (-1) waits."""
        self.waiting += change
        self._waits.inc(change)

    def acquired(self, duration_s: float) -> None:
        """A caller has its connection after ``duration_s`` seconds."""
        self._acquired.observe(duration_s)

    def failed(self, reason: str) -> None:
        """A caller got none; ``reason`` is the class of its error."""
        _failures.labels(self._name, reason).inc()

    def utilization(self, percent: float) -> None:
        """What somebody saw, 0 to 100."""
        _utilization.labels(self._name).set(percent)

    def tell(self, *, size: int, in_use: int) -> None:
        """The pool's counts as they are now."""
        told_size, told_in_use = self._told
        self._size.inc(size - told_size)
        self._in_use.inc(in_use - told_in_use)
        self._told = (size, in_use)


class ReplicaMeter:
    """Tells where reads go. ``name`` is that of the replica's pool."""

    __slots__ = ("_lag", "_name", "_used")

    def __init__(self, name: str) -> None:
        self._name = name
        self._lag, self._used = _replica_lag.labels(name), _replica_used.labels(name)

    def read(self, server: str, reason: str) -> None:
        """One transaction: to ``replica`` or ``primary``, because of the replica's state, or because it must be ``fresh``."""
        _reads.labels(self._name, server, reason).inc()

    def tell(self, *, is_used: bool, lag_s: float | None) -> None:
        """What was found; ``lag_s`` in seconds, None where nobody can tell."""
        self._used.set(is_used)
        if lag_s is not None:
            self._lag.set(lag_s)
