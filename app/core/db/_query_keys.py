"""What a call was about, as a key: the same for the same arguments in every process."""

import inspect
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from types import CellType, FunctionType
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.core.errors import ConfigurationError

_PLAIN = (str, int, float, bytes, bool, date, time, timedelta, Decimal, type(None))


def digest(*parts: Any) -> str:
    """Of values whose type and worth make the key. Raises ConfigurationError for one that has no worth of its own."""
    try:
        text = "\0".join(map(_canonical, parts))
    except RecursionError:
        raise ConfigurationError("A cached query cannot have a value of so many levels in its key") from None
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _canonical(value: Any) -> str:
    kind = type(value)
    if isinstance(value, UUID):
        return f"UUID:{value}"  # the driver's own kind is the same one
    if kind in _PLAIN or isinstance(value, date):
        return f"{kind.__name__}:{value!r}"
    if isinstance(value, Enum):
        return f"{kind.__module__}.{kind.__qualname__}:{value.name!r}"
    if isinstance(value, list | tuple):
        return f"{kind.__name__}[{_joined(map(_canonical, value))}]"
    if isinstance(value, set | frozenset):
        return f"{kind.__name__}[{_joined(sorted(map(_canonical, value)))}]"
    if isinstance(value, Mapping):
        pairs = sorted((_canonical(key), _canonical(one)) for key, one in value.items())
        return f"dict[{_joined(part for pair in pairs for part in pair)}]"
    raise ConfigurationError(
        f"A cached query cannot tell one {kind.__name__} from another; name what the result depends on: "
        'key_fn=lambda person_id: ("persons", person_id)'
    )


def _joined(parts: Iterable[str]) -> str:
    # With their lengths no part can look like two.
    return "".join(f"{len(part)}:{part}" for part in parts)


def call_key(arguments: Mapping[str, Any]) -> str:
    """Of a call's arguments, without sessions: which database they speak to is in ``database_of``."""
    return digest({name: value for name, value in arguments.items() if not is_session(value)})


def surroundings(function: Any) -> str:
    """What tells functions apart that one place in the code makes: the values around them that they use, as they are now.

    Plain values, classes and functions count. Others (a database, a client) have no worth that another process would know.
    """
    inner = inspect.unwrap(function)
    cells = zip(inner.__code__.co_freevars, inner.__closure__ or (), strict=True)
    found = {name: worth for name, cell in cells if (worth := _worth(cell)) is not None}
    return digest(found) if found else ""


def _worth(cell: CellType) -> str | None:
    try:
        value = cell.cell_contents
        if isinstance(value, type | FunctionType):
            return f"{value.__module__}.{value.__qualname__}"
        return digest(value)
    except (ConfigurationError, ValueError):  # ValueError: nothing is in it yet
        return None


def is_session(value: object) -> bool:
    """Whether it is a session."""
    return isinstance(value, AsyncSession | Session)


def database_of(session: AsyncSession | None) -> str:
    """Which database a session speaks to, without the user and the password; a replica's is the primary's."""
    if session is None:
        return ""
    url = (session.sync_session.bind or session.get_bind()).engine.url
    return url._replace(username=None, password=None).render_as_string()


def session_in(arguments: Mapping[str, Any]) -> tuple[str, AsyncSession] | None:
    """The one session among a call's arguments, and its name. Raises ConfigurationError when there are two."""
    found = [(name, value) for name, value in arguments.items() if isinstance(value, AsyncSession)]
    if len(found) > 1:
        raise ConfigurationError("A cached query takes one session")
    return found[0] if found else None


def bound(signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The call's arguments by name, defaults included."""
    call = signature.bind(*args, **kwargs)
    call.apply_defaults()
    return call
