"""All statements; the held-out ones are kept apart so that nobody tunes an adviser to them."""

from collections.abc import Sequence
from importlib import import_module

from bench.advice import (
    _covered,
    _left_alone,
    _logs,
    _most,
    _refused,
    _shop,
    _shop_joins,
    _skipped,
    _texts,
    _work,
)
from bench.advice._case import Case

_FILES = (_shop, _shop_joins, _work, _logs, _texts, _left_alone, _most, _covered, _skipped, _refused)
SEEN: tuple[Case, ...] = tuple(one for file in _FILES for one in file.CASES)


def cases(version: int, *, held_out: bool = False, words: Sequence[str] = ()) -> list[Case]:
    """Those that hold on the server's ``version`` and have one of the ``words`` in kind or name."""
    everything: tuple[Case, ...] = import_module("bench.advice._heldout").CASES if held_out else SEEN
    return [
        one
        for one in everything
        if one.is_for(version) and (not words or any(w in f"{one.kind} {one.name}" for w in words))
    ]
