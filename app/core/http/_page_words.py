"""How pages say numbers: filters of templates, so that a size or a duration looks the same everywhere. None is said as a dash."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from markupsafe import Markup

NOTHING: Final = "\u2013"
_SPACE: Final = "\u00a0"  # a number and its unit stay on one line
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
_SPANS = ((86_400.0, "d", 3_600.0, "h"), (3_600.0, "h", 60.0, "min"), (60.0, "min", 1.0, "s"))


def size(value: float | None) -> str:
    """Bytes: ``1.4 GB``, of 1,024 each."""
    if value is None:
        return NOTHING
    shown, step = float(value), 0
    while abs(shown) >= 1000 and step < len(_SIZES) - 1:
        shown, step = shown / 1024, step + 1
    return f"{_short(shown)}{_SPACE}{_SIZES[step]}"


def count(value: float | None) -> str:
    """A number: ``12,345``; three digits that count where it is no whole number."""
    return NOTHING if value is None else _short(float(value))


def percent(value: float | None) -> str:
    """Of a hundred: ``97.3 %``."""
    return NOTHING if value is None else f"{value:.1f}".removesuffix(".0") + f"{_SPACE}%"


def ms(value: float | None) -> str:
    """Milliseconds: ``0.05 ms``, ``12.3 ms``, and seconds or more where it takes so long."""
    if value is None:
        return NOTHING
    return f"{_short(float(value))}{_SPACE}ms" if abs(value) < 1000 else seconds(value / 1000)


def seconds(value: float | None) -> str:
    """A duration: ``3.2 s``, ``5 min 3 s``, ``2 h 5 min``, ``4 d 3 h``."""
    if value is None:
        return NOTHING
    for whole, name, part, part_name in _SPANS:
        if value >= whole:
            rest = int(value % whole // part)
            words = [int(value // whole), name, *([rest, part_name] if rest else [])]
            return _SPACE.join(map(str, words))
    return f"{_short(float(value))}{_SPACE}s"


def when(value: datetime | None) -> str:
    """A moment in UTC, to the minute, as ``<time>``."""
    if value is None:
        return NOTHING
    at = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), f"{at:%Y-%m-%d %H:%M} UTC")


def _short(value: float) -> str:
    if value.is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1g}"


FILTERS: Final[dict[str, Callable[[Any], str]]] = {
    "size": size, "count": count, "percent": percent, "ms": ms, "seconds": seconds, "when": when,
}  # fmt: skip
