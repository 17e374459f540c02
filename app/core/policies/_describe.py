"""A policy as plain data: for OpenAPI, for people, and for comparing two of them. The names are those of the options."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from app.core.policies._job_config import JobConfig

_LISTS = {
    "rate_limit": "limits",
    "quota": "quotas",
    "concurrency": "slots",
    "circuit_breaker": "breakers",
}


class Difference(NamedTuple):
    """One option that differs; ``path`` as in ``rate_limit.user.quota``. None: not there, or switched off."""

    path: str
    before: Any
    after: Any


def describe(config: JobConfig) -> dict[str, Any]:
    """Every field of ``config`` by its name, as JSON types; what may be several is always a list."""
    described = {field.name: _plain(getattr(config, field.name)) for field in fields(config)}
    for field, as_tuple in _LISTS.items():
        described[field] = [_plain(element) for element in getattr(config, as_tuple)]
    return described


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Difference, ...]:
    """How two described policies, or two parts of them, differ. Elements of lists are compared by their names."""
    first, second = dict(_flat(before)), dict(_flat(after))
    paths = dict.fromkeys((*first, *second))
    return tuple(
        Difference(path, first.get(path), second.get(path))
        for path in paths
        if first.get(path) != second.get(path)
    )


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        shown = (field.name for field in fields(value) if not field.name.startswith("_"))
        described = {name: _plain(getattr(value, name)) for name in shown}
        if "scope" in described and hasattr(value, "scopes"):
            described["scope"] = list(value.scopes)
        return described
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list | frozenset):
        return [_plain(part) for part in value]
    if isinstance(value, type):
        return value.__name__
    if callable(value):
        return f"function {getattr(value, '__name__', type(value).__name__)}"
    return value


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
        value = {str(part.get("dependency") or part.get("name")): part for part in value}
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _flat(part, f"{path}.{name}" if path else str(name))
    else:
        yield path, None if value in ([], {}) else value
