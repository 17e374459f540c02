"""Where log lines go: standard output, one line per event, written whole."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tap = Callable[[bytes], None]


class LogSink:
    """Writes finished lines to whatever ``sys.stdout`` is at that moment, and shows them to taps.

    Each call is one write, so that lines of several threads or workers do not mix. A closed or full output
    loses the line: logging never breaks a request.
    """

    def __init__(self) -> None:
        self._taps: tuple[Tap, ...] = ()

    def write(self, lines: bytes) -> None:
        """Write one line or several, given without the last newline."""
        for tap in self._taps:
            tap(lines)
        try:
            stream = sys.stdout.buffer
            stream.write(lines + b"\n")
            stream.flush()
        except AttributeError:
            self._write_text(lines)
        except (OSError, ValueError):
            return

    @staticmethod
    def _write_text(lines: bytes) -> None:
        """For a replaced stdout that has no byte layer, as in notebooks; there may also be none at all."""
        if sys.stdout is not None:
            sys.stdout.write(lines.decode("utf-8", "replace") + "\n")

    @contextmanager
    def tapped(self, tap: Tap) -> Iterator[None]:
        """Show everything written meanwhile to ``tap`` as well; for tests."""
        self._taps = (*self._taps, tap)
        try:
            yield
        finally:
            self._taps = tuple(other for other in self._taps if other is not tap)


log_sink = LogSink()
