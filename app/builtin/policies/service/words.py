"""A policy in words: what a person wants to know first, and nothing that is as always."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from app.builtin.policies.schemas import OverrideOut, RoutePolicy
from app.core.policies import JobConfig, describe

Part = Mapping[str, Any]

_PERIODS = {1: "a second", 60: "a minute", 3600: "an hour", 86_400: "a day"}
_WHOSE = {
    "user": "user", "ip": "client network", "api_key": "API key", "tenant": "tenant", "route": "route", "global": "service",
}  # fmt: skip
_AWAY = {
    "open": "lets all pass while Valkey is away",
    "closed": "refuses while Valkey is away",
    "local": "counts by itself while Valkey is away",
}
_ALWAYS = frozenset({"security", "rate_limit", "timeout"})
_USUAL = describe(JobConfig())


class Change(NamedTuple):
    """What somebody changed, and where that stands."""

    text: str
    source: str


class Line(NamedTuple):
    """One thing that holds, and what was changed about it."""

    label: str
    texts: list[str]
    changed: list[Change]


class Shown(NamedTuple):
    """One route, or what several methods of a path share."""

    route: RoutePolicy
    lines: list[Line]


class Group(NamedTuple):
    """What begins with the same segment."""

    title: str
    routes: list[Shown]


def grouped(routes: Iterable[RoutePolicy]) -> list[Group]:
    """By the first segment of the path, in its order."""
    ordered = sorted(routes, key=lambda route: (_first(route.path), route.path, route.methods))
    return [
        Group(title, [Shown(route, in_words(route)) for route in some])
        for title, some in groupby(ordered, key=lambda route: _first(route.path))
    ]


def in_words(route: RoutePolicy) -> list[Line]:
    """The lines about one route: who may call, the limits, what was changed, and every other option that is not as always."""
    changed: dict[str, list[Change]] = {}
    for change in route.overridden:
        changed.setdefault(change.option.partition(".")[0], []).append(_changed(change))
    told = (
        field for field, value in (route.config or {}).items() if field in changed or _is_told(field, value)
    )
    return [_line(field, (route.config or {})[field], changed.get(field, [])) for field in told]


def _changed(change: OverrideOut) -> Change:
    effective, default = ("off" if it is None else _plain(it) for it in (change.effective, change.default))
    return Change(f"{change.option} is {effective}, in the code {default}", change.source)


def _is_told(field: str, value: Any) -> bool:
    return field in _ALWAYS or value != _USUAL.get(field)


def _line(field: str, value: Any, changed: list[Change]) -> Line:
    label, words = _WORDS.get(field, (field.replace("_", " ").capitalize(), _plain))
    if value is None or value == []:
        return Line(label, ["none"], changed)
    return Line(
        label, [words(part) for part in value] if isinstance(value, list) else [words(value)], changed
    )


def _first(path: str) -> str:
    return "/" + path[1:].partition("/")[0]


def _who(security: Part) -> str:
    if security["anonymous"]:
        return "anybody; a token that is presented must be valid"
    text = "a valid token or API key" if security["api_keys"] else "a valid token"
    if security["scopes"]:
        text += f" with the {_s('scope', security['scopes'])} {' and '.join(security['scopes'])}"
    if security["roles"]:
        text += f"{', and' if security['scopes'] else ' with'} the role {' or '.join(security['roles'])}"
    if security["mfa"]:
        text += ", signed in with a second factor"
    if security["max_age"] is not None:
        text += f", signed in within the last {_seconds(security['max_age'])}"
    return text


def _limit(limit: Part) -> str:
    text = f"{limit['quota']:,} {_per(limit['window'])} per {_whose(limit['scope'])}"
    if limit["algorithm"] == "debounce":
        text = f"one per {_whose(limit['scope'])}, after {_seconds(limit['window'])} without an attempt"
    parts = [text]
    if limit["algorithm"] == "throttle":
        parts.append("evenly spaced")
    elif limit["burst"] is not None:
        parts.append(f"{limit['burst']:,} at once")
    if limit["algorithm"] == "sliding_window":
        parts.append("counted over the time before each request")
    if limit["cost"] != 1:
        parts.append(f"a request takes {limit['cost']}")
    if limit["charge"] == "admit":
        parts.append("charged only when it is let in")
    return ", ".join([*parts, *_common(limit, "local")])


def _quota(quota: Part) -> str:
    limit = quota["limit"]
    amount = (
        ", ".join(f"{plan} {most:,}" for plan, most in limit.items())
        if isinstance(limit, Mapping)
        else f"{limit:,}"
    )
    parts = [f"{amount} a {quota['per']}"]
    if quota["cost"] != 1:
        parts.append(f"a request takes {quota['cost']}")
    return ", ".join([*parts, *_common(quota, "local")])


def _common(part: Part, usual: str) -> Iterator[str]:
    if part["shared"] is not None:
        yield f"shared with all that say {part['shared']}"
    if part["on_store_down"] != usual:
        yield _AWAY[part["on_store_down"]]
    if part["shadow"]:
        yield "recorded only, refuses nobody"


def _slot(slot: Part) -> str:
    return f"{slot['max']:,} at once per {_whose([slot['scope']])}"


def _bulkhead(bulkhead: Part) -> str:
    return f"{bulkhead['max']:,} handlers at once in a process, {bulkhead['queue']:,} may wait for {_seconds(bulkhead['queue_timeout'])}"


def _credits(credits_: Part) -> str:
    cost = credits_["cost"]
    amount = f"{cost} {_s('credit', cost)}" if isinstance(cost, int) else str(cost)
    return f"{amount} a request, {credits_['settle']}"


def _webhook(hook: Part) -> str:
    return (
        f"messages signed by {hook['source']}, at most {_seconds(hook['tolerance'])} old; each is worked on once, its answer is kept for "
        f"{_seconds(hook['retention'])} in {_STORES[hook['durability']]}"
    )


def _idempotency(it: Part) -> str:
    key = "a key is required" if it["required"] else "a key may be sent"
    return f"{key} with {', '.join(it['methods'])}; results are kept for {_seconds(it['retention'])} in {_STORES[it['durability']]}"


_STORES = {"db": "the database", "valkey": "Valkey"}


def _cache(cache: Part) -> str:
    whose = {"user": "for each user", "tenant": "for each tenant", "public": "for all callers"}
    text = f"fresh for {_seconds(cache['ttl'])}, kept {whose[cache['scope']]}"
    if cache["stale"]:
        text += f", stale for {_seconds(cache['stale'])} more"
    return text + (f", ends with {', '.join(cache['tags'])}" if cache["tags"] else "")


def _breaker(breaker: Part) -> str:
    return (
        f"{breaker['dependency']}: opens when {breaker['failure_rate']:.0%} of {breaker['min_calls']} calls or more in "
        f"{_seconds(breaker['window'])} fail, for {_seconds(breaker['open_for'])}"
    )


def _retry(retry: Part) -> str:
    return f"{retry['attempts']} attempts, with at most {retry['budget']:.0%} more calls"


def _time(timeout: float) -> str:
    return _seconds(timeout)


def _bytes(size: int) -> str:
    return f"{size:,} bytes"


def _encryption(value: Any) -> str:
    return _plain(value) if value is not True else "what is kept is sealed"


def _shadow(is_on: bool) -> str:
    return "refusals are recorded, nobody is refused" if is_on else "off"


def _plain(value: Any) -> str:
    """For what nobody has found better words for."""
    if isinstance(value, Mapping):
        return ", ".join(_set(value)) or "as usual"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def _set(options: Part) -> list[str]:
    return [
        f"{name.replace('_', ' ')} {_plain(value)}"
        for name, value in options.items()
        if value not in (None, False, [], {}, "")
    ]


_WORDS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "security": ("Who may call", _who),
    "webhook": ("Webhook", _webhook),
    "rate_limit": ("Limits", _limit),
    "quota": ("Quota", _quota),
    "concurrency": ("At once", _slot),
    "bulkhead": ("Bulkhead", _bulkhead),
    "credits": ("Costs", _credits),
    "idempotency": ("Idempotency", _idempotency),
    "cache": ("Answers kept", _cache),
    "circuit_breaker": ("Circuit breaker", _breaker),
    "retry": ("Retry", _retry),
    "timeout": ("Time", _time),
    "max_body": ("Longest body", _bytes),
    "encryption": ("Encryption", _encryption),
    "shadow": ("Shadow mode", _shadow),
    "invalidates": ("Ends kept answers of", str),
}


def _per(window: float) -> str:
    return _PERIODS.get(int(window), "") if window in _PERIODS else f"in {_seconds(window)}"


def _seconds(seconds: float) -> str:
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {_s(name, seconds / size)}"
    return f"{seconds:g} {_s('second', seconds)}"


def _whose(scope: Iterable[str]) -> str:
    return " and ".join(_WHOSE.get(one, one) for one in scope)


def _s(word: str, count: Any) -> str:
    number = count if isinstance(count, int | float) else len(count)
    return word if number == 1 else word + "s"
