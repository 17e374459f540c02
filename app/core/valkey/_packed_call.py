"""A script call that is made again and again, all but its id and a few parts the same: packed once, as the server reads it."""

from collections.abc import Sequence
from typing import NamedTuple, final

from libvalkey import pack_command

from app.core.valkey._script import Script


class Gap(NamedTuple):
    """``size`` parts that come before the key, or argument, of number ``at``, and that each call brings along."""

    at: int
    size: int


@final
class PackedCall:
    """Keys and arguments as for ``submit``. The first key ends with the call's id, and the argument ``at`` is the id; both are
    given without it. Keys and arguments (behind ``at``) that differ from call to call are left out: ``keys_gap``, ``args_gap``. The
    bytes are those that ``submit`` would send (a test compares them).

    Not for calls that are made once: packing them in four parts takes longer than packing them whole.
    """

    __slots__ = ("_between", "_first", "_head", "_length", "_names", "_rest", "_values", "script")

    def __init__(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[bytes],
        *,
        at: int,
        keys_gap: Gap | None = None,
        args_gap: Gap | None = None,
    ) -> None:
        self.script = script
        self._first = keys[0].encode()
        self._length = len(self._first)
        key, more_keys = keys_gap or (len(keys), 0)
        argument, more_args = args_gap or (len(args), 0)
        count = 3 + len(keys) + more_keys + len(args) + more_args
        self._head = b"*%d\r\n%b$" % (count, packed_parts("EVALSHA", script.sha, len(keys) + more_keys))
        self._names = b"\r\n%b" % packed_parts(*keys[1:key])
        self._between = b"%b$" % packed_parts(*keys[key:], *args[:at])
        self._values = b"\r\n%b" % packed_parts(*args[at + 1 : argument])
        self._rest = packed_parts(*args[argument:])

    def packed(self, name: str, keys: bytes = b"", args: bytes = b"") -> bytes:
        """The call under this id. ``keys`` and ``args``: what fills the gaps, as ``packed_parts`` makes it."""
        own, size = name.encode(), len(name)
        return b"%b%d\r\n%b%b%b%b%b%d\r\n%b%b%b%b" % (
            self._head, self._length + size, self._first, own, self._names, keys, self._between, size, own, self._values, args, self._rest,
        )  # fmt: skip


def packed_parts(*parts: bytes | str | int) -> bytes:
    """Parts of a call as the server reads them, without their number, which stands before them."""
    packed: bytes = pack_command(parts)
    return packed.partition(b"\r\n")[2]
