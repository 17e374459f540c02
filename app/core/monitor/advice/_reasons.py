"""In words why an index is suggested."""

from app.core.monitor.advice._choice import Chosen
from app.core.monitor.advice._indexes import Index
from app.core.monitor.advice._suggestions import key_sql
from app.core.monitor.advice._tables import TableFacts


def reason_of(chosen: Chosen, index: Index) -> str:
    """One or two sentences; no values."""
    option, reading = chosen.option, chosen.reading
    table = reading.table
    keys = ", ".join(map(key_sql, index.keys)).replace('"', "")
    found = f"{keys} finds {_percent(option.look.share)} of the {table.rows:,.0f} rows of {table.title}"
    if option.is_ordered and reading.order is not None:
        found = f"{keys} gives the first {reading.order.limit:,.0f} rows in the wanted order, without reading and sorting the others"
    elif option.is_join:
        found += f", for each of {option.look.looks:,.0f} rows that join it"
    if index.predicate:
        found += "; the index holds only the rows that fit the condition"
    if index.include:
        found += "; what is carried along spares looking at the table"
    if len(option.indexes) > 1:
        found += "; each side of the OR needs its own index, one alone helps nothing"
    if index.extension:
        found += f"; needs CREATE EXTENSION {index.extension}"
    return found + _today(chosen)


def _today(chosen: Chosen) -> str:
    return f". Reading it costs {chosen.before:,.0f} today and would cost {chosen.after:,.0f}"


def _percent(share: float) -> str:
    return f"{share * 100:.2g} %" if share >= 0.0001 else "less than 0.01 %"


def reference_reason(table: TableFacts, columns: tuple[str, ...], referred: str) -> str:
    """Of a foreign key without index."""
    return (
        f"rows of {referred} are removed or get another key: for each the server searches {table.title} by {', '.join(columns)},"
        " which no plan shows, and reads all of it without an index"
    )


def cautions(table: TableFacts) -> list[str]:
    """What to know about the statistics that all this rests on."""
    if not table.is_stale:
        return []
    return [f"a third of {table.title} has changed since its statistics were taken: ANALYZE it and ask again"]
