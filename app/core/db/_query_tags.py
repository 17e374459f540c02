"""Comments on statements that say who asked (sqlcommenter, https://google.github.io/sqlcommenter/spec/).

They show in ``pg_stat_activity`` and in the server's log, so that a slow statement leads to its endpoint.
``pg_stat_statements`` still counts a statement once, whatever its comment.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine, ExecutionContext

from app.core.context import current_context
from app.core.errors import ConfigurationError

QUERY_TAGS = ("policy", "request_id", "route")
_LONGEST = 200


class QueryTags:
    """Appends ``/*policy='...',request_id='...',route='...'*/`` to each statement of a request.

    A comment makes another text, and a driver prepares each text anew: ``policy`` and ``route`` are few, but
    with ``request_id`` no prepared statement is ever used twice, which costs a round trip per statement.
    Raises ConfigurationError for names that are no tag.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(sorted(set(names)))  # The specification wants the keys in order.
        if unknown := [name for name in self._names if name not in QUERY_TAGS]:
            raise ConfigurationError(
                f"No such query tag: {', '.join(unknown)}; there are {', '.join(QUERY_TAGS)}"
            )

    def install(self, engine: Engine) -> None:
        """Tag every statement of ``engine`` from now on."""
        if self._names:
            event.listen(engine, "before_cursor_execute", self._tag, retval=True)

    def comment(self) -> str:
        """The comment for what runs now; empty outside requests."""
        context = current_context()
        pairs = ((name, getattr(context, name)) for name in self._names)
        # Quoting leaves no quote, star or slash, so that nothing in a value can end the comment.
        said = ",".join(
            f"{name}='{quote(value[:_LONGEST], safe='', errors='replace')}'" for name, value in pairs if value
        )
        return f" /*{said}*/" if said else ""

    def _tag(
        self,
        _connection: Connection,
        _cursor: Any,
        sql: str,
        parameters: Any,
        _context: ExecutionContext | None,
        _many: bool,
    ) -> tuple[str, Any]:
        # A statement that has a comment keeps its own, as the specification says.
        return (sql if "/*" in sql or "--" in sql else sql + self.comment()), parameters
