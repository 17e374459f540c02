"""What a worker and a process of its pool say to each other: a byte for what it is, four for the length of what follows, then that.

From the process come only bytes and JSON; to it goes a pickle, since it trusts the worker.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

READY = b"+"
"""It has imported the jobs."""
JOB = b"j"
"""To the process: where the job is and what was claimed, pickled."""
REPORT = b"p"
"""Progress, note, cost; each may be null."""
RESULT = b"r"
"""The result as JSON."""
NO_RESULT = b"n"
REFUSED = b"x"
"""The job said itself that it cannot succeed: which error, and its detail."""
FAILED = b"!"
"""The kind of the error, and its traceback."""

_HEAD = struct.Struct("!cI")


def frame(kind: bytes, body: bytes = b"") -> bytes:
    """One message, to be sent whole."""
    return _HEAD.pack(kind, len(body)) + body


def frames_in(received: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """The whole messages at the beginning of what was received, which are removed from it."""
    while len(received) >= _HEAD.size:
        kind, length = _HEAD.unpack_from(received)
        end = _HEAD.size + length
        if len(received) < end:
            return
        body = bytes(received[_HEAD.size : end])
        del received[:end]
        yield kind, body


def read_frame(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    """Wait for the next message; None at the end of the stream, also in the middle of one."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, length = _HEAD.unpack(head)
    body = stream.read(length)
    return (kind, body) if len(body) == length else None
