"""Searches what leaves the process for secrets that the tests used: every log line, every exposition of metrics, and what tests show it.

The whole suite runs under it: ``tests/conftest.py`` makes one guard per session and an autouse fixture calls ``check`` after each test.
Secrets are known in three ways: by their form (tokens, API keys, private keys, hashes of passwords, TOTP secrets), by where they are made
(``remembering``: random texts of 128 bits and more, and passwords that are hashed), and by ``watch(secret)`` for all others.
"""

import re
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import app
from app.core.observability import Metrics, configure_logging, log_sink
from app.core.security import PasswordHasher

FORMS = {
    "a token": (b"eyJ", rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    "an API key": (b"sk_", rb"\bsk_[0-9A-Za-z]{1,32}_[0-9A-Za-z]{8,}_?[0-9A-Za-z_-]{20,}"),
    "a secret of webhooks": (b"whsec_", rb"whsec_[\w+/=-]{24,}"),
    "a private key": (b"PRIVATE KEY", rb"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"),
    "a hash of a password": (b"$argon2", rb"\$argon2(?:id|i|d)\$"),
    "an address of TOTP": (b"otpauth", rb"otpauth://\S+"),
}
"""What begins so and looks so is secret; the beginning is there because looking for it is quick."""
WORDS = {
    "an opaque token": rb"[a-z]{2,6}_(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{43}",
    "a TOTP secret": rb"(?=[A-Z]*[2-7])[A-Z2-7]{32}",
}
_FORMS = {name: (start, re.compile(form)) for name, (start, form) in FORMS.items()}
_SECRET_WORDS = {name: re.compile(form) for name, form in WORDS.items()}
_WORDS = re.compile(rb"[\w-]{24,}")
_SECRET_BYTES = 18
"""Random texts of as many bytes are secrets: shorter ones are names of tokens, sessions and requests."""
_RECENT = 64


class LeakGuard:
    """Holds the secrets to look for, and the lines in which one was found."""

    def __init__(self) -> None:
        self._secrets: dict[bytes, str] = {}
        self._words: set[bytes] = set()
        self._passwords: deque[bytes] = deque(maxlen=_RECENT)
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
        for name, (start, form) in _FORMS.items():
            if start in text:
                for found in form.findall(text):
                    self._leaked(name, found, text)
        for word in _WORDS.findall(text):
            self._look_at_word(word, text)
        for secret, name in self._secrets.items():
            if secret in text:
                self._leaked(name, secret, text)
        for password in self._passwords:
            if password in text:
                self._leaked("a password", password, text)

    def _look_at_word(self, word: bytes, text: bytes) -> None:
        if word in self._words or word[-43:] in self._words:
            self._leaked("a random text", word, text)
        elif len(word) != 36:  # the length of an id
            for name, form in _SECRET_WORDS.items():
                if form.fullmatch(word):
                    self._leaked(name, word, text)

    def _leaked(self, name: str, secret: bytes, text: bytes) -> None:
        self.leaks.append(f"{name} in: {text.replace(secret, b'<HERE>').decode('utf-8', 'replace')}")

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

    @contextmanager
    def remembering(self) -> Iterator["LeakGuard"]:
        """Know every random text from 18 bytes that is made meanwhile, and the last 64 passwords that were hashed or tried; and look at
        every exposition of the metrics.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(secrets, "token_urlsafe", self._remember_text(secrets.token_urlsafe))
            for method in ("hash", "verify", "verify_dummy"):
                patch.setattr(
                    PasswordHasher, method, self._remember_password(getattr(PasswordHasher, method))
                )
            patch.setattr(Metrics, "exposition", self._look_at(Metrics.exposition))
            yield self

    def _remember_text(self, make: Callable[[int | None], str]) -> Callable[..., str]:
        def token_urlsafe(nbytes: int | None = None) -> str:
            text = make(nbytes)
            if nbytes is None or nbytes >= _SECRET_BYTES:
                self._words.add(text.encode())
            return text

        return token_urlsafe

    def _remember_password(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def hashing(hasher: PasswordHasher, password: str, *rest: Any) -> Any:
            text = password.encode("utf-8", "replace")
            if is_telling(text) and text not in self._passwords:
                self._passwords.append(text)
            return work(hasher, password, *rest)

        return hashing

    def _look_at(self, expose: Callable[[Metrics], bytes]) -> Callable[[Metrics], bytes]:
        def exposition(metrics: Metrics) -> bytes:
            shown = expose(metrics)
            self.look(shown)
            return shown

        return exposition


def is_telling(text: bytes) -> bool:
    """Whether a text would hardly stand in a line by chance: 10 characters, 6 of them different, and not one that stands in the code, as
    a policy's name does: Hypothesis draws the constants of the code, too, also as passwords.
    """
    return 10 <= len(text) <= 200 and len(set(text)) >= 6 and text not in _code()


@cache
def _code() -> bytes:
    folder = Path(app.__path__[0])
    return b"\n".join(file.read_bytes() for file in sorted(folder.rglob("*.py")))
