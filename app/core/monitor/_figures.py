"""How findings say sizes and moments, so that one means the same in all of them."""

from datetime import UTC, datetime


def size(count: float) -> str:
    """Bytes for people: ``12.3 MB``, of 1,048,576 bytes."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(count) < 1024:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"


def moment(at: datetime | None) -> str:
    """``2026-11-22 04:00 UTC``. None is ``unknown``: the server forgets with its statistics that something was ever done."""
    return "unknown" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
