"""What the building blocks share: one policy around one handler, as a decorator that changes neither its signature nor its kind."""

import hashlib
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary, WeakValueDictionary

import anyio.from_thread
from fastapi import Response

from app.core.context import current_context
from app.core.errors import ConfigurationError
from app.core.http._client_address import client_network
from app.core.http._current import Scope, current_platform, current_scope
from app.core.http._state import SCOPE_KEY, RequestState
from app.core.policies import Caller, Engine, default_engine, is_policy_name
from app.core.resilience import function_of

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_UNSAFE = re.compile(r"[^a-z0-9]+")
_READABLE = 48
_handlers: "WeakValueDictionary[str, Callable[..., Any]]" = WeakValueDictionary()
_names: "WeakKeyDictionary[Callable[..., Any], str]" = WeakKeyDictionary()


class Block(ABC, Generic[T]):
    """One check around a handler. ``name`` is what metrics, events and refusals call it; by default it is made from the handler's module
    and name, so no two handlers are counted together.
    """

    def __init__(self, name: str | None) -> None:
        if name is not None and not is_policy_name(name):
            raise ValueError(
                f"A block's name must match [a-z][a-z0-9_]* and be at most 63 characters, not {name!r}"
            )
        self._name = name

    @abstractmethod
    async def enter(self, name: str) -> T:
        """Before the handler; raises the refusal."""

    async def succeed(self, taken: T, status: int) -> None:
        """After it; ``status`` is what is known of the answer's."""

    async def fail(self, taken: T) -> None:
        """After it raised, or was cancelled."""

    def __call__(self, handler: Callable[P, R]) -> Callable[P, R]:
        """Put the check around ``handler``: async, or sync in a thread as FastAPI runs it. Raises ValueError for a generator: what it
        answers has begun before it runs, so nothing could be refused.
        """
        function = function_of(handler)
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise ValueError(
                f"{type(self).__name__} cannot guard the stream {function.__qualname__}: its answer has begun when it runs. "
                "Use it as a dependency, or JobConfig"
            )
        name = self._name or name_of(handler)
        wrap = self._coroutine if inspect.iscoroutinefunction(function) else self._function
        return cast("Callable[P, R]", wraps(handler)(wrap(name, handler)))

    def _coroutine(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            taken = await self.enter(name)
            try:
                result = await handler(*args, **kwargs)
            except BaseException:
                await self.fail(taken)
                raise
            await self.succeed(taken, _status_of(result, kwargs))
            return result

        return guarded

    def _function(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            taken = _await(partial(self.enter, name))
            try:
                result = handler(*args, **kwargs)
            except BaseException:
                _await(partial(self.fail, taken))
                raise
            _await(partial(self.succeed, taken, _status_of(result, kwargs)))
            return result

        return guarded


def _await(work: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Run it on the loop that this thread works for."""
    try:
        return anyio.from_thread.run(work)
    except RuntimeError as error:
        if "worker thread" not in str(error):
            raise
        raise ConfigurationError(
            "A sync function with a building block runs in a worker thread, as FastAPI runs it: make it async, or call it with "
            "anyio.to_thread.run_sync"
        ) from error


def _status_of(result: Any, arguments: dict[str, Any]) -> int:
    """The status that the handler gave its answer, if it did: as a response, or through the one that FastAPI handed to it."""
    if isinstance(result, Response):
        return result.status_code
    given = (value.status_code for value in arguments.values() if isinstance(value, Response))
    return next((status for status in given if status), 200)


def name_of(handler: Callable[..., Any]) -> str:
    """A policy's name for a handler, from its module and qualified name: the same in every process, and no other handler's.

    Handlers that one function made share both; they are told apart by the order in which they were made.
    """
    inner = inspect.unwrap(handler)
    known = _names.get(inner)
    if known is not None:
        return known
    if not hasattr(inner, "__qualname__"):
        raise ValueError(f"{inner!r} has no name of its own; give the block one: name=...")
    identity = f"{inner.__module__}:{inner.__qualname__}"
    for number in range(1, 10_000):
        text = identity if number == 1 else f"{identity}:{number}"
        name = f"{_readable(inner.__name__)}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        if _handlers.setdefault(name, inner) is inner:
            _names[inner] = name
            return name
    raise ValueError(f"{identity} was made 10,000 times; give the block a name: name=...")


def _readable(name: str) -> str:
    word = _UNSAFE.sub("_", name.lower()).strip("_")[:_READABLE]
    return word if word[:1].isalpha() else f"handler_{word}".rstrip("_")


class Here(NamedTuple):
    """Where a block stands: in a request of an application, or (``state`` and ``scope`` are None) in a script or job of a process."""

    engine: Engine
    caller: Caller
    state: RequestState | None
    scope: Scope | None


def here() -> Here:
    """The request in hand with its application's engine, otherwise the process's engine and the context's principal.

    The caller is the principal that the gate, ``require_scope`` or ``CurrentPrincipal`` found, otherwise the client's network. Raises
    ConfigurationError where there is neither, because one bucket for all of those would be nobody's, and where there is no engine.
    """
    scope, context = current_scope(), current_context()
    if scope is not None:
        state: RequestState = scope[SCOPE_KEY]
        caller = Caller(context.principal or state.principal, client_network(state.client_ip))
        return Here(current_platform().engine, caller, state, scope)
    if context.principal is None and context.client_ip is None:
        raise ConfigurationError(
            "There is no caller to count: set the context's principal, or use engine.run(principal=...)"
        )
    return Here(default_engine(), Caller(context.principal, client_network(context.client_ip)), None, None)
