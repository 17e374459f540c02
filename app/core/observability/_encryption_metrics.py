"""What encryption does, as metrics of the whole process: texts are encrypted outside of applications too, in scripts and workers."""

from typing import Literal

from prometheus_client import Counter, Histogram

Operation = Literal["encrypt", "decrypt", "rotate"]

_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.01)

_operations = Counter(
    "gatehouse_encryption_operations_total",
    "Texts that were encrypted, decrypted and re-encrypted; failed: no key opened one, or it was changed",
    ["operation", "outcome"],
)
_seconds = Histogram(
    "gatehouse_encryption_seconds", "Time of one such operation", ["operation"], buckets=_BUCKETS
)
_bound = {
    name: (_operations.labels(name, "ok").inc, _operations.labels(name, "failed").inc, _seconds.labels(name).observe)
    for name in ("encrypt", "decrypt", "rotate")
}  # fmt: skip


def count_encryption(operation: Operation, duration_s: float, *, ok: bool) -> None:
    """Count one operation into ``gatehouse_encryption_operations_total`` and ``gatehouse_encryption_seconds``."""
    succeeded, failed, observe = _bound[operation]
    (succeeded if ok else failed)()
    observe(duration_s)
