"""One test that goes over many cases: as strict as one test for each, without what pytest does around every test."""

import asyncio
import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import pytest

Case = tuple[str, dict[str, Any]]
_NAME = 60
"""Characters of a case's name."""
_FAILURES = (Exception, pytest.fail.Exception)


def each_case(
    names: str | tuple[str, ...], values: Iterable[Any], *, ids: Any = None
) -> Callable[[Any], Any]:
    """Like ``pytest.mark.parametrize``, but in one test: all cases run, and the test fails with all that failed, each with its name.

    Several of them on one test give every combination, as there; on a class, each of its tests goes over the cases. When not to use: for
    cases that fixtures of one test must keep apart (a database that is emptied, patches, captured output), for slow ones, which several
    processes may share, and for those with marks of their own.
    """
    keys = (
        names
        if isinstance(names, tuple)
        else tuple(name for part in names.split(",") if (name := part.strip()))
    )
    labels = None if ids is None or callable(ids) else list(ids)
    cases = [
        _case(keys, value, labels[number] if labels else None, ids if callable(ids) else _said(number))
        for number, value in enumerate(values)
    ]
    if not cases:
        raise ValueError("a test without cases cannot fail")

    def over(test: Any) -> Any:
        if isinstance(test, type):
            for name, member in list(vars(test).items()):
                if name.startswith("test") and inspect.isfunction(member):
                    setattr(test, name, _over(member, cases))
            return test
        return _over(test, cases)

    return over


def _said(number: int) -> Callable[[Any], str]:
    """Names of what is short; of others, where in the list they stand: their text may be endless."""
    plain = (bool, int, float, str, bytes, type(None))
    return lambda value: (
        ascii(value) if isinstance(value, plain) else getattr(value, "__name__", f"no. {number}")
    )


def _case(keys: tuple[str, ...], value: Any, label: str | None, say: Callable[[Any], Any]) -> Case:
    is_parameter = isinstance(value, type(pytest.param()))
    if is_parameter and value.marks:
        raise ValueError("a case has no marks of its own")
    parts = value.values if is_parameter else (value,) if len(keys) == 1 else tuple(value)
    name = label or (
        value.id if is_parameter and value.id else "-".join(str(say(part))[:_NAME] for part in parts)
    )
    return str(name), dict(zip(keys, parts, strict=True))


def _over(test: Callable[..., Any], cases: list[Case]) -> Callable[..., Any]:
    plain = getattr(test, "case_of", test)
    inner: list[Case] = getattr(test, "cases", [("", {})])
    every = [(f"{name}-{more}".strip("-"), given | others) for name, others in cases for more, given in inner]
    wrapper = _waiting(plain, every) if inspect.iscoroutinefunction(plain) else _running(plain, every)
    given = {name for _, values in every for name in values}
    signature = inspect.signature(plain)
    if missing := given - signature.parameters.keys():
        raise TypeError(f"{plain.__qualname__} does not take {', '.join(sorted(missing))}")
    fixtures = [one for name, one in signature.parameters.items() if name not in given]
    vars(wrapper).update(
        {
            **vars(test),
            "__signature__": signature.replace(parameters=fixtures),
            "case_of": plain,
            "cases": every,
        }
    )
    return wrapper


def _running(plain: Callable[..., Any], cases: list[Case]) -> Callable[..., Any]:
    @wraps(plain)
    def over(*given: Any, **fixtures: Any) -> None:
        failed: list[tuple[str, BaseException]] = []
        for name, values in cases:
            try:
                plain(*given, **fixtures, **values)
            except _FAILURES as failure:
                failed.append((name, failure))
        _tell(failed, len(cases))

    return over


def _waiting(plain: Callable[..., Any], cases: list[Case]) -> Callable[..., Any]:
    @wraps(plain)
    async def over(*given: Any, **fixtures: Any) -> None:
        failed: list[tuple[str, BaseException]] = []
        for name, values in cases:
            try:
                await asyncio.create_task(plain(*given, **fixtures, **values))  # a context of its own
            except _FAILURES as failure:
                failed.append((name, failure))
        _tell(failed, len(cases))

    return over


def _tell(failed: list[tuple[str, BaseException]], tried: int) -> None:
    for name, failure in failed:
        failure.add_note(f"the case: {name}")
    if failed:
        names = ", ".join(name for name, _ in failed)
        raise BaseExceptionGroup(
            f"{len(failed)} of {tried} cases failed: {names}", [failure for _, failure in failed]
        )
