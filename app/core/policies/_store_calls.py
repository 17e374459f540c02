"""Calls to the store that may be repeated."""

from collections.abc import Awaitable, Sequence
from typing import Protocol

import structlog
from orjson import loads

from app.core.valkey import Script, StoreDown, StoreError, ValkeyClient

_PATIENCE_S = 0.25
# Of a number's characters the digits and the minus stay, a space is a comma, and all others are what JSON has not.
_AS_LIST = bytes(
    code if chr(code) in "0123456789-" else ord("," if chr(code) == " " else "!") for code in range(256)
)
_log = structlog.get_logger(__name__)


class Store(Protocol):
    """The part of the Valkey client that ADMIT needs."""

    def submit(self, script: Script, keys: Sequence[str], args: Sequence[bytes]) -> Awaitable[bytes]:
        """Run a script once, within the store's budget; it or the wait for it raises StoreError."""

    def run(
        self, script: Script, keys: Sequence[str], args: Sequence[bytes], *, timeout_s: float
    ) -> Awaitable[bytes]:
        """The same with a budget of its own, in seconds."""


async def call(
    store: Store, script: Script, keys: Sequence[str], args: Sequence[bytes], *, is_patient: bool
) -> bytes:
    """Run a script that may be run twice, and do so if its answer is lost with the connection.

    is_patient: wait up to 0.25 s instead of the store's usual budget. Raises StoreError.
    """
    try:
        return await _once(store, script, keys, args, is_patient=is_patient)
    except StoreDown:
        # The connection broke under the call, which may have run: by its receipt the second try cannot charge twice.
        return await _once(store, script, keys, args, is_patient=is_patient)


async def call_packed(store: ValkeyClient, script: Script, packed: bytes, *, is_patient: bool) -> bytes:
    """The same for a call that is there as bytes."""
    timeout_s = _PATIENCE_S if is_patient else None
    try:
        return await store.submit_packed(script, packed, timeout_s=timeout_s)  # type: ignore[no-any-return]
    except StoreDown:
        return await store.submit_packed(script, packed, timeout_s=timeout_s)  # type: ignore[no-any-return]


def integers(reply: bytes) -> list[int]:
    """The numbers of a script's reply, with single spaces between them. Raises StoreError for a reply of anything else: somebody else
    wrote under our keys. One beyond 64 bits, as none of ours is, comes out rounded.
    """
    try:
        # Read as a JSON list: a quarter of the time that ``int`` takes with each.
        numbers: list[int] = loads(b"[%b]" % reply.translate(_AS_LIST))
    except ValueError:
        _log.error("store.unreadable")
        raise StoreError("Valkey's reply is not made of whole numbers") from None
    return numbers


def _once(
    store: Store, script: Script, keys: Sequence[str], args: Sequence[bytes], *, is_patient: bool
) -> Awaitable[bytes]:
    if is_patient:
        return store.run(script, keys, args, timeout_s=_PATIENCE_S)
    return store.submit(script, keys, args)
