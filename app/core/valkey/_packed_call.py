"""A script call that is made again and again, with nothing but its id changed: packed once, as the server reads it."""

from collections.abc import Sequence
from typing import final

from libvalkey import pack_command

from app.core.valkey._script import Script


@final
class PackedCall:
    """Keys and arguments as for ``submit``. The first key ends with the call's id, and the argument ``at`` is the id; both are
    given without it. The bytes are those that ``submit`` would send (a test compares them).

    Not for calls that are made once: packing them in four parts takes longer than packing them whole.
    """

    __slots__ = ("_between", "_first", "_head", "_length", "_rest", "script")

    def __init__(self, script: Script, keys: Sequence[str], args: Sequence[bytes], *, at: int) -> None:
        self.script = script
        self._first = keys[0].encode()
        self._length = len(self._first)
        count = 3 + len(keys) + len(args)
        self._head = b"*%d\r\n%b$" % (count, _parts("EVALSHA", script.sha, len(keys)))
        self._between = b"\r\n%b$" % _parts(*keys[1:], *args[:at])
        self._rest = b"\r\n%b" % _parts(*args[at + 1 :])

    def packed(self, name: str) -> bytes:
        """The call under this id."""
        own, size = name.encode(), len(name)
        return b"%b%d\r\n%b%b%b%d\r\n%b%b" % (
            self._head, self._length + size, self._first, own, self._between, size, own, self._rest,
        )  # fmt: skip


def _parts(*parts: bytes | str | int) -> bytes:
    """Packed without their number, which stands before them."""
    packed: bytes = pack_command(parts)
    return packed.partition(b"\r\n")[2]
