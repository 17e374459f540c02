"""What can be wrong with a question to a repository. All are the caller's mistakes, and say which part is wrong.

Unprocessable                  422
└── QueryRefused               422  base; ``name`` is the field, parameter or option
    ├── UnknownField           422  no such field, or it is not allowed here
    ├── UnknownOperator        422  the field has no such operator
    ├── InvalidFieldValue      422  the value does not fit the field
    ├── InvalidCursor          422  not a cursor of this list
    └── InvalidLimit           422  a page that cannot be asked for
"""

from collections.abc import Iterable

from app.core.errors import Unprocessable

_LONGEST_NAME = 100


class QueryRefused(Unprocessable):
    """A part of a question makes no sense.

    ``name`` says which part, ``message`` what is wrong with it. The name goes out as ``loc`` in ``errors``, cut to 100 characters;
    values never do.
    """

    kind = "query_refused"

    def __init__(self, name: str, message: str) -> None:
        self.name = name[:_LONGEST_NAME].encode(errors="replace").decode()
        self.message = message
        error = {"loc": [self.name], "msg": message, "type": self.kind}
        super().__init__(f"{self.name!r} {message}", extensions={"errors": [error]})


class UnknownField(QueryRefused):
    """There is no such field, or it may not be used here."""

    kind = "unknown_field"

    def __init__(self, name: str, allowed: Iterable[str] = ()) -> None:
        super().__init__(name, _one_of("is not a field that can be used here", allowed))


class UnknownOperator(QueryRefused):
    """The field cannot be compared in this way."""

    kind = "unknown_operator"

    def __init__(self, name: str, allowed: Iterable[str] = ()) -> None:
        super().__init__(name, _one_of("is not an operator of this field", allowed))


class InvalidFieldValue(QueryRefused):
    """The value does not fit the field's type or range."""

    kind = "invalid_value"


class InvalidCursor(QueryRefused):
    """The text is not a cursor of this list.

    It was changed, belongs to another list or order, or was signed with a key that is no longer in use. Which of
    these is not told.
    """

    kind = "invalid_cursor"

    def __init__(self) -> None:
        super().__init__("cursor", "is not a cursor of this list")


class InvalidLimit(QueryRefused):
    """A page, limit or offset is out of its range."""

    kind = "invalid_limit"


def _one_of(message: str, allowed: Iterable[str]) -> str:
    names = ", ".join(sorted(allowed))
    return f"{message}; there are: {names}" if names else message
