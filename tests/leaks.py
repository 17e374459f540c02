"""Searches every log line for secrets that the tests used.

The whole suite runs under it: ``tests/conftest.py`` makes one guard per session and an autouse fixture calls
``check`` after each test. Tests that make up a secret call ``guard.watch(secret)`` and need nothing more.
Access and refresh tokens and those of e-mails need no watching: they are known by their form.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from app.core.observability import configure_logging, log_sink

_TOKEN = re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}|\b[er]t_[\w-]{43}")


class LeakGuard:
    """Holds the secrets to look for, and the lines in which one was found."""

    def __init__(self) -> None:
        self._secrets: dict[bytes, str] = {}
        self.leaks: list[str] = []
        self.seen = 0

    def watch(self, secret: str, name: str = "a secret") -> str:
        """Look for ``secret`` from now on; returns it. Refuses short values, which stand in innocent lines."""
        if len(secret) < 8:
            raise ValueError("a watched secret needs 8 characters or more")
        self._secrets[secret.encode()] = name
        return secret

    def look(self, text: bytes) -> None:
        """Search one write of the log; the sink calls this."""
        self.seen += 1
        if _TOKEN.search(text):
            self.leaks.append(f"a token in: {_TOKEN.sub(b'<HERE>', text).decode()}")
        for secret, name in self._secrets.items():
            if secret in text:
                self.leaks.append(f"{name} in: {text.replace(secret, b'<HERE>').decode()}")

    def check(self) -> None:
        """Fail when a secret has been logged since the last check."""
        found, self.leaks = self.leaks, []
        assert not found, "\n".join(found)

    @contextmanager
    def watching(self) -> Iterator["LeakGuard"]:
        """Log as production does, at the most talkative level, and look at every line."""
        configure_logging("DEBUG", "json")
        with log_sink.tapped(self.look):
            yield self
