"""Reads conditions that the server printed: every operator in parentheses, every cast shown."""

from functools import lru_cache

from app.core.monitor.advice._expressions import (
    Both,
    Call,
    Cast,
    Collated,
    Column,
    Constant,
    Either,
    Expression,
    Given,
    IsTest,
    Negation,
    OfArray,
    Opaque,
    Operation,
    Row,
)
from app.core.monitor.advice._tokens import NotReadable, Token, columns_seen, name_of, tokens_of

_MAX_TEXT = 20_000
_MAX_DEPTH = 40
_TYPE_WORDS = {
    "character": ("varying",),
    "double": ("precision",),
    "bit": ("varying",),
    "timestamp": ("with", "without"),
    "time": ("with", "without"),
    "interval": ("year", "month", "day", "hour", "minute", "second"),
}
_NOW = frozenset(
    [
        "current_date",
        "current_time",
        "current_timestamp",
        "localtime",
        "localtimestamp",
        "current_user",
        "session_user",
        "current_role",
        "current_catalog",
        "current_schema",
        "user",
    ]
)
_TESTS = (
    "NOT NULL", "NULL", "NOT TRUE", "TRUE", "NOT FALSE", "FALSE", "NOT UNKNOWN", "UNKNOWN",
)  # fmt: skip


@lru_cache(maxsize=4096)
def read(text: str) -> Expression:
    """The tree of one printed condition; ``Opaque`` where it has a form that is not known here. Reads at most 20,000 characters."""
    if len(text) > _MAX_TEXT:
        return Opaque(text)
    tokens: list[Token] = []
    try:
        tokens = tokens_of(text)
        reader = _Reader(tokens)
        found = reader.expression()
        reader.expect_end()
    except (NotReadable, IndexError):
        return Opaque(text, columns_seen(tokens))
    return found


class _Reader:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = [*tokens, Token("end", "")]
        self._at = 0
        self._depth = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _accept(self, text: str) -> bool:
        if self._next.kind not in {"text", "quoted"} and self._next.text.upper() == text:
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise NotReadable

    def expect_end(self) -> None:
        if self._next.kind != "end":
            raise NotReadable

    def expression(self) -> Expression:
        """A chain of one kind of operator; the server prints no mixed ones."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise NotReadable
        found = self._operand()
        while (longer := self._continued(found)) is not None:
            found = longer
        self._depth -= 1
        return found

    def _continued(self, left: Expression) -> Expression | None:
        for word, kind in (("AND", Both), ("OR", Either)):
            if self._next.word == word:
                parts = [left]
                while self._accept(word):
                    parts.append(self._compared())
                return kind(tuple(parts))
        return self._operation(left)

    def _compared(self) -> Expression:
        found = self._operand()
        while (longer := self._operation(found)) is not None:
            found = longer
        return found

    def _operation(self, left: Expression) -> Expression | None:
        if self._next.kind == "sign" or self._next.word == "OPERATOR":
            return self._with_operator(left, self._operator())
        if self._accept("IS"):
            return self._tested(left)
        if self._accept("COLLATE"):
            return Collated(left, self._dotted())
        if self._accept("AT"):
            self._expect("TIME")
            self._expect("ZONE")
            return Call("timezone", (self._operand(), left), "zone")
        return None

    def _operator(self) -> str:
        if self._accept("OPERATOR"):
            self._expect("(")
            name = ""
            while not self._accept(")"):
                name += self._take().text
            return f"OPERATOR({name})"
        return self._take().text

    def _with_operator(self, left: Expression, operator: str) -> Expression:
        if self._next.word in {"ANY", "ALL"}:
            is_all = self._take().word == "ALL"
            self._expect("(")
            array = self.expression()
            self._expect(")")
            return OfArray(operator, left, array, is_all)
        return Operation(operator, left, self._operand())

    def _tested(self, left: Expression) -> Expression:
        if self._accept("DISTINCT"):
            raise NotReadable
        for what in _TESTS:
            start = self._at
            if all(self._accept(word) for word in what.split()):
                return IsTest(left, what)
            self._at = start
        raise NotReadable

    def _operand(self) -> Expression:
        found = self._primary()
        while True:
            if self._next.kind == "cast":
                self._take()
                found = Cast(found, self._type())
            elif self._next.text == "[":
                raise NotReadable
            else:
                return found

    def _primary(self) -> Expression:
        token = self._take()
        if token.kind in {"text", "number"}:
            return Constant(token.text)
        if token.kind == "given":
            return Given(token.text)
        if token.text == "(":
            return self._parenthesised()
        if token.kind == "sign":
            return Operation(token.text, None, self._operand())
        if token.kind in {"word", "quoted"}:
            return self._worded(token)
        raise NotReadable

    def _parenthesised(self) -> Expression:
        if self._next.word in {"SUBPLAN", "HASHED"}:
            raise NotReadable
        if self._accept("INITPLAN"):
            number = self._take().text
            self._expect(")")
            if self._accept("."):
                self._take()
            return Given(f"$initplan{number}")
        found = self.expression()
        self._expect(")")
        if self._next.text == ".":
            raise NotReadable
        return found

    def _worded(self, token: Token) -> Expression:
        word = token.word
        if word == "NOT":
            return Negation(self._compared())
        if word in {"TRUE", "FALSE", "NULL"}:
            return Constant(token.text)
        if word.lower() in _NOW and self._next.text not in {".", "("}:
            return Given(token.text)
        if word in {"CASE", "EXISTS", "ANY", "ALL", "ALTERNATIVES"} and self._next.text != ".":
            raise NotReadable
        if word in {"ROW", "ARRAY"} and self._next.text in {"(", "["}:
            return self._row(word)
        if word == "EXTRACT" and self._next.text == "(":
            return self._extract()
        return self._named(token)

    def _row(self, word: str) -> Expression:
        closing = {"(": ")", "[": "]"}[self._take().text]
        return Row(word, self._list(closing))

    def _extract(self) -> Expression:
        self._expect("(")
        part = self._take().text
        self._expect("FROM")
        moment = self.expression()
        self._expect(")")
        return Call(part, (moment,), "extract")

    def _named(self, token: Token) -> Expression:
        names = [token]
        while self._accept("."):
            names.append(self._take())
        if any(it.kind not in {"word", "quoted"} for it in names):
            raise NotReadable
        if self._accept("("):
            if self._next.word in {"DISTINCT", "VARIADIC"} or self._next.text == "*":
                raise NotReadable
            return Call(".".join(it.text for it in names), self._list(")"))
        if len(names) > 2:
            raise NotReadable
        alias = name_of(names[0]) if len(names) == 2 else None
        return Column(alias, name_of(names[-1]))

    def _list(self, closing: str) -> tuple[Expression, ...]:
        parts: list[Expression] = []
        if self._accept(closing):
            return ()
        while True:
            parts.append(self.expression())
            if self._accept(closing):
                return tuple(parts)
            self._expect(",")

    def _dotted(self) -> str:
        name = self._take().text
        while self._accept("."):
            name += "." + self._take().text
        return name

    def _type(self) -> str:
        name = self._dotted()
        if self._next.text.lower() in _TYPE_WORDS.get(name.lower(), ()) and self._next.text.lower() not in {
            "with",
            "without",
        }:
            name += " " + self._take().text
        if self._accept("("):
            name += "(" + self._take().text
            while not self._accept(")"):
                name += self._take().text
            name += ")"
        if self._next.word in {"WITH", "WITHOUT"}:
            name += " " + " ".join(self._take().text for _ in range(3))
        while self._next.text == "[":
            self._take()
            self._expect("]")
            name += "[]"
        return name
