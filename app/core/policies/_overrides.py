"""Overrides: options of policies changed by name at the start, from ``policies.toml`` and the environment, without touching code.

``POLICIES__<NAME>__<FIELD>[__<ELEMENT>][__<OPTION>]`` and the same path in the file; the environment wins. What results is a new config
that checks itself. Security can only be made stricter.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

from app.core.errors import ConfigurationError
from app.core.policies._describe import Difference, describe, differences
from app.core.policies._job_config import JobConfig
from app.core.policies._option_values import is_off, parse
from app.core.policies._rate_limit import RateLimit, is_policy_name
from app.core.policies._stricter import refuse_weaker

PREFIX = "POLICIES__"
_ONLY_IN_CODE = frozenset({"name", "dependency", "retry_safe", "shared_with_all", "anonymous", "api_keys"})
_BUCKET_WORDS = {"max_tokens": int, "refill_rate": float}
_HINTS = get_type_hints(JobConfig)
_FIELDS = tuple(field.name for field in fields(JobConfig))


class Entry(NamedTuple):
    """One thing that an operator wrote. ``source`` names the variable, or the file and the key."""

    policy: str
    path: tuple[str, ...]
    value: Any
    source: str


class Override(NamedTuple):
    """One option as it is in force: what the code says, what holds instead, and where that was written."""

    path: str
    default: Any
    effective: Any
    source: str


class Overrides:
    """All overrides of one application. ``Overrides()`` has none.

    Kept by policy; ``apply`` is for the boot audit, which calls it once for each gate.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = tuple(entries)
        self._by_policy: dict[str, list[Entry]] = {}
        for entry in self.entries:
            self._by_policy.setdefault(entry.policy, []).append(entry)
        self._applied: dict[str, tuple[Override, ...]] = {}

    @classmethod
    def load(cls, path: Path | None, environ: Mapping[str, str]) -> "Overrides":
        """Read the file, if there is to be one, and those variables of ``environ`` that begin with ``POLICIES__``; empty ones are skipped.

        Raises ConfigurationError for a file that is absent or no TOML, and for what names no policy and field.
        """
        written = list(_from_file(path)) if path is not None else []
        variables = list(_from_environment(environ))
        written = [entry for entry in written if not any(_overlap(entry, other) for other in variables)]
        return cls((*written, *variables))

    def apply(self, name: str, config: JobConfig) -> JobConfig:
        """The config in force for the policy ``name``: ``config`` itself, or a new one.

        Raises ConfigurationError that names every variable or key that is wrong here, and what is allowed.
        """
        entries = self._by_policy.get(name)
        if not entries:
            return config
        changes, problems = {}, []
        for field, mine in _grouped(entries, 0):
            try:
                changes[field] = _changed(config, field, mine)
            except ValueError as refusal:
                problems.append(f"{_sources(mine)}: {refusal}")
        if problems:
            raise ConfigurationError("; ".join(problems))
        try:
            effective = replace(config, **changes)
            refuse_weaker(config, effective)
        except ValueError as refusal:
            raise ConfigurationError(f"{_sources(entries)}: {refusal}") from refusal
        found = differences(describe(config), describe(effective))
        self._applied[name] = tuple(_overridden(change, entries) for change in found)
        return effective

    def applied(self, name: str) -> tuple[Override, ...]:
        """What ``apply`` changed for a policy; nothing before it was called."""
        return self._applied.get(name, ())

    def unused(self, names: Iterable[str]) -> list[str]:
        """A finding for every override whose policy is not among ``names``."""
        known = sorted(set(names))
        return [
            f"{entry.source}: there is no policy {entry.policy}{_meant(entry.policy, known)}"
            for entry in self.entries
            if entry.policy not in known
        ]


def _overlap(one: Entry, other: Entry) -> bool:
    """Whether one of them speaks about the other or a part of it: ``cache`` and ``cache.ttl``."""
    length = min(len(one.path), len(other.path))
    return one.policy == other.policy and one.path[:length] == other.path[:length]


def _from_environment(environ: Mapping[str, str]) -> Iterator[Entry]:
    seen: dict[tuple[str, ...], str] = {}
    for variable, value in sorted(environ.items()):
        if not variable.upper().startswith(PREFIX) or not value.strip():
            continue
        policy, *path = variable[len(PREFIX) :].lower().split("__")
        if not is_policy_name(policy) or not path or not all(path):
            raise ConfigurationError(
                f"{variable}: write {PREFIX}<NAME>__<FIELD>, and __<OPTION> where the field has options"
            )
        if (twin := seen.setdefault((policy, *path), variable)) != variable:
            raise ConfigurationError(f"{twin} and {variable} are one override; keep one")
        yield Entry(policy, tuple(path), value.strip(), variable)


def _from_file(path: Path) -> Iterator[Entry]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"POLICIES_FILE {path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # TOMLDecodeError names the line and the column
        raise ConfigurationError(f"POLICIES_FILE {path} is no TOML: {error}") from None
    for policy, table in document.items():
        if not is_policy_name(policy) or not isinstance(table, dict) or not table:
            raise ConfigurationError(
                f"{path}: {policy}: write a table [name_of_the_policy] with fields in it"
            )
        for place, value in _leaves(table, ()):
            yield Entry(policy, place, value, f"{path}: {'.'.join((policy, *place))}")


def _leaves(table: Mapping[str, Any], place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        here = (*place, name)
        if isinstance(value, dict) and len(here) < _depth(here[0]):
            yield from _leaves(value, here)
        else:
            yield here, value


def _depth(field: str) -> int:
    """How many names lead to an option: ``timeout``, ``cache.ttl``, ``rate_limit.user.quota``."""
    if field not in _HINTS or _class_of(field) is None:
        return 1
    return 3 if _is_list(field) else 2


def _class_of(field: str) -> Any:
    if bool in get_args(_HINTS[field]):
        return None  # which fields are encrypted is the code's; only that anything is can be overridden
    return next((hint for hint in (_HINTS[field], *get_args(_HINTS[field])) if is_dataclass(hint)), None)


def _is_list(field: str) -> bool:
    return any(getattr(hint, "__origin__", None) is tuple for hint in get_args(_HINTS[field]))


def _changed(config: JobConfig, field: str, entries: list[Entry]) -> Any:
    if field not in _HINTS:
        raise ValueError(f"JobConfig has no field {field}{_meant(field, _FIELDS)}")
    kind, current = _class_of(field), getattr(config, field)
    if too_deep := [entry for entry in entries if len(entry.path) > _depth(field)]:
        raise ValueError(f"{'.'.join(too_deep[0].path)} leads too deep")
    if kind is None:
        return parse(_HINTS[field], entries[0].value)
    if _switched_off(entries, 1):
        if field == "security":
            raise ValueError("security cannot be switched off")
        return None
    if not _is_list(field):
        return _with_options(kind, current, entries, field)
    elements = current if isinstance(current, tuple) else () if current is None else (current,)
    changed = _changed_elements(elements, entries, field)
    return changed if isinstance(current, tuple) else next(iter(changed), None)


def _changed_elements(elements: tuple[Any, ...], entries: list[Entry], field: str) -> tuple[Any, ...]:
    by_name = {getattr(element, "name", None) or element.dependency: element for element in elements}
    for name, mine in _grouped(entries, 1):
        if name not in by_name:
            raise ValueError(f"{field} has no {name}{_meant(name, by_name)}")
        if _switched_off(mine, 2):
            del by_name[name]
        else:
            element = by_name[name]
            by_name[name] = _with_options(type(element), element, mine, f"{field}.{name}")
    return tuple(by_name.values())


def _switched_off(entries: list[Entry], length: int) -> bool:
    whole = [entry for entry in entries if len(entry.path) == length]
    if not whole:
        return False
    if len(entries) > 1:
        raise ValueError("the whole is written and a part of it; keep one")
    if not is_off(whole[0].value):
        raise ValueError(f"must be off, or have the name of an option behind it, not {whole[0].value!r}")
    return True


def _with_options(kind: type[Any], current: Any, entries: list[Entry], place: str) -> Any:
    hints = get_type_hints(kind) | (_BUCKET_WORDS if kind is RateLimit else {})
    allowed = [name for name in hints if not name.startswith("_") and name not in _ONLY_IN_CODE]
    options = {}
    for entry in entries:
        name = entry.path[-1]
        if name in _ONLY_IN_CODE and name in hints:
            raise ValueError(f"{name} can be changed in code only")
        if name not in allowed:
            raise ValueError(f"{place} has no option {name}{_meant(name, allowed)}")
        try:
            options[name] = parse(hints[name], entry.value)
        except ValueError as refusal:
            raise ValueError(f"{place}.{name} {refusal}") from None
    if isinstance(current, RateLimit):
        options = _as_bucket(current, options)
    if current is not None:
        return replace(current, **options)
    try:
        return kind(**options)
    except TypeError as refusal:
        raise ValueError(
            f"{place} is not used by this policy, and these options do not make one: {refusal}"
        ) from None


def _as_bucket(limit: RateLimit, options: dict[str, Any]) -> dict[str, Any]:
    """``max_tokens`` and ``refill_rate`` as quota, window and burst; a burst that was equal to the quota stays so."""
    if not _BUCKET_WORDS.keys() & options.keys():
        if "quota" in options and limit.burst == limit.quota:
            options.setdefault("burst", options["quota"])
        return options
    if limit.algorithm != "token_bucket" or options.keys() & {"quota", "window", "burst", "algorithm"}:
        raise ValueError(
            "max_tokens and refill_rate are for a token_bucket, in place of quota, window and burst"
        )
    most = options.pop("max_tokens", limit.burst or limit.quota)
    rate = options.pop("refill_rate", limit.quota / limit.window)
    bucket = RateLimit.token_bucket(limit.name, max_tokens=most, refill_rate=rate)
    return {**options, "quota": bucket.quota, "window": bucket.window, "burst": bucket.burst}


def _grouped(entries: Iterable[Entry], at: int) -> Iterator[tuple[str, list[Entry]]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.path[at], []).append(entry)
    yield from groups.items()


def _overridden(change: Difference, entries: list[Entry]) -> Override:
    place = tuple(change.path.split("."))
    closest = max(entries, key=lambda entry: _common(entry.path, place))
    return Override(change.path, change.before, change.after, closest.source)


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _sources(entries: Iterable[Entry]) -> str:
    return ", ".join(entry.source for entry in entries)


def _meant(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = get_close_matches(name, known, 1)
    guess = f" (did you mean {close[0]}?)" if close else ""
    return f"{guess}; allowed: {', '.join(known) or 'none'}"
