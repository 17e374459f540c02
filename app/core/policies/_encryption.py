"""Encryption of named fields: they leave the service as tokens, come back as tokens, and only the handler sees what they say."""

import re
from dataclasses import dataclass

_PATH = re.compile(r"[^.\s]+(\.[^.\s]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """Which fields of JSON bodies are encrypted; what is kept of answers (cache, idempotency) is sealed besides, as with ``True``.

    response: fields that are encrypted when the handler has returned: ``ssn``, ``patient.ssn``. Lists on the way are gone through. Null
        and absent fields stay so.
    request: fields that the caller sends as tokens; the handler gets what they say, of the type that it was. Plain values are 422.

    A token is bound to the name of its field, the last part of its path: what one endpoint answered as ``ssn`` another one takes as
    ``ssn``, and nothing else. It is not bound to the caller: whoever has it can send it in, so an endpoint that takes a field must not
    show it plainly. Not for streams (the start is refused), and no replacement for TLS. Raises ValueError for paths that are none, are
    twice there or lie within each other.
    """

    response: tuple[str, ...] = ()
    request: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.response and not self.request:
            raise ValueError(
                "Encryption names no field: give response or request, or say encryption=True to seal what is kept"
            )
        for name in ("response", "request"):
            _check(name, getattr(self, name))


def _check(name: str, paths: tuple[str, ...]) -> None:
    if not isinstance(paths, tuple) or not all(
        isinstance(path, str) and _PATH.fullmatch(path) for path in paths
    ):
        raise ValueError(
            f"Encryption.{name} must be a tuple of fields, with dots where they lie within others, not {paths!r}"
        )
    for path in paths:
        if paths.count(path) > 1 or any(other.startswith(f"{path}.") for other in paths):
            raise ValueError(
                f"Encryption.{name}: {path} is named twice, or holds another field that is named"
            )
