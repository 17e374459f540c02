"""The words of a printed condition."""

import re
from dataclasses import dataclass

from app.core.monitor.advice._expressions import Column

_TOKEN = re.compile(
    r"""
    \s*(?:
      (?P<text>   [eE]'(?:[^'\\]|\\.|'')*' | (?:[bBxX])?'(?:[^']|'')*' )
    | (?P<quoted> "(?:[^"]|"")*" )
    | (?P<number> \d+(?:\.\d*)?(?:[eE][+-]?\d+)? | \.\d+ )
    | (?P<given>  \$\d+ )
    | (?P<word>   [^\W\d][\w$]* )
    | (?P<cast>   :: )
    | (?P<mark>   [()\[\],.:] )
    | (?P<sign>   [-+*/<>=~!@\#%^&|`?]+ )
    )
    """,
    re.VERBOSE | re.DOTALL,
)


class NotReadable(Exception):
    """The text has a form that is not known here."""


@dataclass(frozen=True, slots=True)
class Token:
    """``kind``: text, quoted, number, given, word, cast, mark or sign."""

    kind: str
    text: str

    @property
    def word(self) -> str:
        """In capitals, empty for what is no word."""
        return self.text.upper() if self.kind == "word" else ""


def tokens_of(text: str) -> list[Token]:
    """All of them. Raises NotReadable for a sign that has no place in one."""
    found, position = [], 0
    text = text.rstrip()
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise NotReadable
        found.append(Token(token.lastgroup or "", token[0].strip()))
        position = token.end()
    return found


def name_of(token: Token) -> str:
    """An identifier without its quotation marks."""
    return token.text[1:-1].replace('""', '"') if token.kind == "quoted" else token.text


def columns_seen(tokens: list[Token]) -> tuple[Column, ...]:
    """Columns of an unread condition: ``alias.column`` that is not a function."""
    found = []
    for index in range(len(tokens) - 2):
        alias, dot, column = tokens[index : index + 3]
        follows = tokens[index + 3].text if index + 3 < len(tokens) else ""
        if dot.text == "." and {alias.kind, column.kind} <= {"word", "quoted"} and follows != "(":
            found.append(Column(name_of(alias), name_of(column)))
    return tuple(dict.fromkeys(found))
