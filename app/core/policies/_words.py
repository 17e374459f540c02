"""Checks that option classes share: each says what is wrong and what is allowed."""

from collections.abc import Iterable
from typing import Any, get_args

from app.core.policies._rate_limit import is_policy_name


def one_of(owner: str, field: str, value: object, literal: Any) -> None:
    """Raise ValueError unless ``value`` is among the literal's words."""
    if value not in get_args(literal):
        allowed = ", ".join(str(word) for word in get_args(literal))
        raise ValueError(f"{owner}.{field} must be one of {allowed}, not {value!r}")


def between(owner: str, field: str, value: float, least: float, most: float) -> None:
    """Raise ValueError unless ``least <= value <= most``."""
    if isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{owner}.{field} must be {least:,} to {most:,}, not {value!r}")


def named(owner: str, field: str, names: Iterable[str]) -> None:
    """Raise ValueError unless every name has the form of a policy's name."""
    for name in names:
        if not is_policy_name(name):
            raise ValueError(
                f"{owner}.{field} must match [a-z][a-z0-9_]* and be at most 63 characters, not {name!r}"
            )
