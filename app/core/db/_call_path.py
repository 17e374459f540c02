"""Which lines of the application led to a statement.

SQLAlchemy runs a statement in a greenlet of its own, whose frames end where it was started; the path goes on
in the greenlet that waits for it.
"""

import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from types import FrameType

import greenlet

_ROOT = Path(__file__).resolve().parents[3]
_HERE = Path(__file__).resolve().parent
_CORE = _HERE.parent
_TOOLS = frozenset({"_leaks.py", "_query_log.py", "_query_watch.py"})
_LIBRARIES = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_DEEPEST = 400


def call_path(limit: int = 4) -> tuple[str, ...]:
    """Lines such as ``app/features/records/repository.py:33 in get``, innermost first, at most ``limit``.

    Libraries and the platform are left out, unless there is nothing else. Costs tens of microseconds: not
    for every statement.
    """
    found: list[str] = []
    core: list[str] = []
    for frame in _frames():
        kind, shown = _where(frame.f_code.co_filename)
        if kind == "library":
            continue
        lines = core if kind == "core" else found
        lines.append(f"{shown}:{frame.f_lineno} in {frame.f_code.co_name}")
        if len(found) == limit:
            break
    return tuple(found or core[:limit])


def _frames() -> list[FrameType]:
    frames: list[FrameType] = []
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - the documented way to the caller's frame
    waiting = greenlet.getcurrent()
    while len(frames) < _DEEPEST:
        if frame is None:
            if (parent := waiting.parent) is None:
                break
            waiting, frame = parent, parent.gr_frame
            continue
        frames.append(frame)
        frame = frame.f_back
    return frames


@lru_cache(maxsize=4096)
def _where(filename: str) -> tuple[str, str]:
    """What kind of code a file is, and how its name is shown."""
    path = Path(filename)
    if path.parent == _HERE and path.name in _TOOLS:
        return "library", filename
    if filename.startswith("<") or "site-packages" in path.parts or filename.startswith(_LIBRARIES):
        return "library", filename
    shown = str(path.relative_to(_ROOT)) if path.is_relative_to(_ROOT) else filename
    is_core = _CORE in path.parents
    return ("core" if is_core else "ours"), shown
