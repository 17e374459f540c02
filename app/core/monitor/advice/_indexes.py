"""An index that does not exist."""

from dataclasses import dataclass

from app.core.monitor.advice._expressions import Column, Expression
from app.core.monitor.advice._tables import TableFacts
from app.core.monitor.advice._ways import Key


@dataclass(frozen=True, slots=True)
class Index:
    """An index that does not exist. ``predicate``: conditions of a partial one."""

    method: str
    keys: tuple[Key, ...]
    include: tuple[str, ...] = ()
    predicate: tuple[Expression, ...] = ()
    extension: str | None = None

    @property
    def columns(self) -> frozenset[str]:
        """Plain columns whose values it holds."""
        names = {key.expression.name for key in self.keys if isinstance(key.expression, Column)}
        return frozenset(names | set(self.include))


def entry_bytes(table: TableFacts, index: Index) -> float:
    """Bytes of an entry's values, on average."""
    keys = [key.expression for key in index.keys]
    named = [it.name for it in keys if isinstance(it, Column)] + list(index.include)
    widths = [table.columns[name].width if name in table.columns else 8 for name in named]
    return float(sum(widths) + 16 * (len(keys) + len(index.include) - len(named)))
