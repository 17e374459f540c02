"""Values as bytes: JSON, never pickle; sealed if asked for."""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import orjson
from pydantic import BaseModel, TypeAdapter

from app.core.errors import GatehouseError
from app.core.valkey._cache_entry import Entry


class Sealer(Protocol):
    """Encrypts payloads. ``context`` binds the sealed text to its place: it opens nowhere else."""

    def seal(self, data: bytes, context: bytes, /) -> bytes:
        """The sealed text."""
        ...

    def open(self, sealed: bytes, context: bytes, /) -> bytes:
        """What was sealed. Raises a ``GatehouseError`` or ``ValueError`` for anything that was not sealed so."""
        ...


class Unkept(NamedTuple):
    """What a ``make`` without a model gives instead of its value when that must not be stored. Callers get it as it is."""

    value: Any


class Codec:
    """Turns values into payloads and back.

    Without ``model`` what comes back is plain JSON data: of a Pydantic model its ``model_dump(mode="json")``, of a tuple a list, of a
    date its text. With a ``model`` (any type that Pydantic knows) every value is validated into that, also one that was just made, and
    also from an object with attributes.
    """

    def __init__(self, model: Any = None, sealer: Sealer | None = None) -> None:
        self._adapter: TypeAdapter[Any] | None = None if model is None else _adapter(model)
        self._sealer = sealer

    def shape(self, value: Any) -> Any:
        """The value as ``model``; None stays None. Raises Pydantic's ``ValidationError``."""
        if self._adapter is None or value is None:
            return value
        return self._adapter.validate_python(value, from_attributes=True)

    def shaped(self, make: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        """``make``, giving what it gives as ``model``."""
        if self._adapter is None:
            return make

        async def shaping() -> Any:
            return self.shape(await make())

        return shaping

    def encode(self, value: Any, key: str) -> bytes:
        """The payload. Raises TypeError for a value that JSON cannot hold."""
        if isinstance(value, Unkept):
            raise TypeError("this value is not to be kept")  # it is a tuple, which JSON would take for a list
        try:
            # None is stored as such, whatever the model.
            adapter = self._adapter if value is not None else None
            payload = adapter.dump_json(value) if adapter is not None else orjson.dumps(value, default=_plain)
        except ValueError as error:
            raise TypeError("JSON cannot hold the value") from error
        return payload if self._sealer is None else self._sealer.seal(payload, key.encode())

    def read(self, entry: Entry | None, key: str) -> tuple[Any, bool]:
        """The entry's value, and whether there is one that can be understood (another model, another key of sealing)."""
        if entry is None:
            return None, False
        try:
            return self.decode(entry.payload, key), True
        except (ValueError, GatehouseError):
            return None, False

    def decode(self, payload: bytes, key: str) -> Any:
        """The value. Raises ValueError, or the sealer's error."""
        if self._sealer is not None:
            payload = self._sealer.open(payload, key.encode())
        value = orjson.loads(payload)
        # None is a value of its own (``negative_ttl``), also for a model that does not allow it.
        return value if self._adapter is None or value is None else self._adapter.validate_python(value)


@lru_cache(maxsize=512)
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError
