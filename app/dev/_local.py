"""The `.local/` folder of a clone: server data, passwords and keys made for development, and who is running."""

import fcntl
import json
import os
import secrets
import shlex
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from app.core.errors import ConfigurationError
from app.dev._account import Account, refuse_foreign, server_account

CLONE = Path(__file__).resolve().parents[2]
OUTSIDE = Path("/var/tmp")  # noqa: S108 - for a clone the servers' account cannot enter; its folder is checked to be ours


class AlreadyRunning(ConfigurationError):
    """Another `make run` of this clone is alive."""


class LocalFolder:
    """Everything `make run` keeps for one clone. Only the owner (and, as root, the servers' account on its way through) may enter.

    ``clone`` is the checkout's folder. Raises ``ConfigurationError`` when `.local` belongs to another user.
    """

    def __init__(self, clone: Path = CLONE) -> None:
        self.clone = clone
        self.path = clone / ".local"
        self.path.mkdir(mode=0o700, exist_ok=True)
        refuse_foreign(self.path, {os.geteuid()})
        self.account = server_account()
        self.account.let_through(self.path)
        self._lock: int | None = None

    def lock(self) -> None:
        """Be the only runner of this clone until this process ends, however it ends. Raises ``AlreadyRunning``."""
        self._lock = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(self._lock, 200, 0).decode(errors="replace").strip()
            raise AlreadyRunning(
                f"`make run` is already running in this clone ({other or 'starting'})"
            ) from None

    def announce(self, text: str) -> None:
        """Say who holds the lock, for the message of a second runner."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, text.encode(), 0)

    def servers(self) -> Path:
        """Where the servers' data is: here, or outside when their account cannot enter the clone; once made it stays where it is.

        Raises ``ConfigurationError`` when the data is here and the clone has become closed to that account.
        """
        reachable = self.account.can_reach(self.path)
        outside = outside_path(self.clone)
        if (self.path / "postgres").exists():
            if not reachable:
                raise ConfigurationError(
                    f"The servers run as uid {self.account.uid}, which cannot enter {self.path}; open the folders above it, or remove it"
                )
            return self.path
        if reachable and not (outside / "postgres").exists():
            return self.path
        return outside_folder(self.account, self.clone)

    def credentials(self, emails: Iterable[str]) -> dict[str, str]:
        """Passwords of the development users, made once."""
        return self._kept("credentials.json", {email: secrets.token_urlsafe(12) for email in emails})

    def keys(self) -> dict[str, str]:
        """``SECRET_KEY`` and ``ENCRYPTION_KEYS`` for development, made once."""
        fresh = {
            "SECRET_KEY": secrets.token_urlsafe(48),
            "ENCRYPTION_KEYS": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        }
        return self._kept("keys.json", fresh)

    def write_environment(self, values: Mapping[str, str]) -> None:
        """Write what the API runs with to `.local/env`, so that a shell can run the CLI against the same servers."""
        self.write("env", "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()))

    def write(self, name: str, text: str) -> None:
        """Write a file that only the owner reads (0600), whole or not at all."""
        fresh = self.path / f"{name}.new"
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 - by descriptor
            file.write(text)
        fresh.replace(self.path / name)

    def _kept(self, name: str, fresh: Mapping[str, str]) -> dict[str, str]:
        """What the file holds, completed with ``fresh`` values for names it lacks."""
        path = self.path / name
        kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        values = {**fresh, **kept}
        if values != kept:
            self.write(name, json.dumps(values, indent=2) + "\n")
        return values


def outside_path(clone: Path = CLONE) -> Path:
    """Where one clone's folder under /var/tmp is, or would be."""
    return OUTSIDE / f"gatehouse-{os.geteuid()}-{sha256(os.fsencode(clone)).hexdigest()[:12]}"


def outside_folder(account: Account, clone: Path = CLONE) -> Path:
    """That folder, which ``account`` may walk through; made when missing.

    Raises ``ConfigurationError`` when somebody else has made it, since anybody may.
    """
    folder = outside_path(clone)
    folder.mkdir(mode=0o700, exist_ok=True)
    refuse_foreign(folder, {os.geteuid()})
    account.let_through(folder)
    return folder
