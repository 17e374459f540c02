"""What runs when something is called."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any


def function_of(target: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind ``target``: of a partial its function, of an object its class's ``__call__``; otherwise ``target`` itself.

    Ask this one whether it is async or a generator: ``inspect`` says no of an object whose ``__call__`` is.
    """
    while isinstance(target, partial):
        target = target.func
    if inspect.isroutine(target) or inspect.isclass(target) or inspect.iscoroutinefunction(target):
        return target
    return type(target).__call__
