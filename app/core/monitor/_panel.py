"""Parts of a page that fail alone."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, Literal, Protocol, TypeVar

import structlog

from app.core.errors import GatehouseError

T = TypeVar("T")
Severity = Literal["critical", "warning", "info"]
RANKS: dict[str, int] = {"critical": 0, "warning": 1, "info": 2}
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that somebody should look at.

    check: what looked, as in ``indexes.unused``. subject: what it is about, a table's name for example. title: one sentence. evidence: the
    numbers, with since when they count. fix: what to do, in words. ddl: statements that do it, if there are such; nobody runs them but an
    operator. No values of anybody's rows.
    """

    check: str
    severity: Severity
    subject: str
    title: str
    evidence: str
    fix: str
    ddl: tuple[str, ...] = ()


class _Ranked(Protocol):
    @property
    def severity(self) -> Severity: ...
    @property
    def check(self) -> str: ...
    @property
    def subject(self) -> str: ...


F = TypeVar("F", bound=_Ranked)


def ranked(findings: Iterable[F]) -> list[F]:
    """Worst first; among equals in the order of their checks and subjects."""
    return sorted(findings, key=lambda it: (RANKS[it.severity], it.check, it.subject))


@dataclass(frozen=True, slots=True)
class Panel(Generic[T]):
    """An answer, or the reason why there is none (``value`` is None then). ``took_ms`` says what the question cost."""

    value: T | None
    reason: str | None
    took_ms: float


async def panel(name: str, question: Callable[[], Awaitable[T]]) -> Panel[T]:
    """The answer to ``question``; an error of ours becomes its reason, and is logged with the panel's name."""
    started = perf_counter()
    try:
        value, reason = await question(), None
    except GatehouseError as error:
        if error.status == 500:  # A mistake of ours: it shows as such in the log, and the other panels stay.
            _log.exception("monitor.panel_failed", panel=name)
        value, reason = None, error.detail or error.title
    return Panel(value, reason, round((perf_counter() - started) * 1000, 1))
