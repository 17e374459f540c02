"""What an operator does with a folder of signing keys, while the service runs."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from stat import S_IRWXO
from typing import Protocol

from app.core.errors import ConfigurationError
from app.core.security._key_file import KeyFile
from app.core.security._key_folder import read_folder, terms_of
from app.core.security._key_set import KeyState
from app.core.security._keys import Algorithm

if os.name == "posix":
    import fcntl

MIN_LEAD_S = 10
MAX_LEAD_S = 2_592_000


class _Clock(Protocol):
    def time(self) -> float: ...


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """A key of the folder as it is now. Times are seconds since the epoch; ``verifies_until`` is None while no later key is known."""

    kid: str
    algorithm: Algorithm
    state: KeyState
    signs_from: float
    verifies_until: float | None


class KeyRotation:
    """Makes, replaces and removes the keys of ``path``; services that watch it (``KeyFolder``) need no restart.

    ``ttl_s`` is how long the service's tokens live. The folder is made (mode 0700) when it is absent, and refused when every account of the
    machine may look into it. Files appear and vanish whole, with mode 0600, owned as the folder is when root makes them. One operator at
    a time: a second one is refused. Methods raise ConfigurationError for that, and for a folder that holds anything broken.
    """

    def __init__(self, path: Path, *, ttl_s: int, clock: _Clock) -> None:
        self._path = path
        self._ttl_s = ttl_s
        self._clock = clock

    def statuses(self) -> list[KeyStatus]:
        """All keys, in the order in which they sign. Raises ConfigurationError when there is none."""
        return self._statuses(read_folder(self._path))

    def rotate(self, algorithm: Algorithm = "EdDSA", *, lead_s: int = 600) -> KeyStatus:
        """Add a key that begins to sign in ``lead_s`` seconds, and remove those whose tokens have run out.

        lead_s: 10 to 2,592,000; until then every process, and whoever reads the published keys, has to know it. Raises ConfigurationError
        while another key is waiting for its turn.
        """
        if not MIN_LEAD_S <= lead_s <= MAX_LEAD_S:
            raise ConfigurationError(f"A new key waits {MIN_LEAD_S} to {MAX_LEAD_S} seconds before it signs.")
        with self._alone():
            files = read_folder(self._path) if any(self._path.glob("*.pem")) else []
            statuses = self._statuses(files)
            if waiting := [status.kid for status in statuses if status.state == "upcoming"]:
                raise ConfigurationError(f"The key {waiting[0]} is waiting already; it signs soon.")
            now = self._clock.time()
            made = KeyFile.make(_new_kid(now), algorithm, now + lead_s, follows_secret=not files)
            self._write(made)
            for status in statuses:
                if status.state == "over":
                    self._file(status.kid).unlink()
            return next(each for each in self._statuses([*files, made]) if each.kid == made.key.kid)

    def retire(self, kid: str) -> list[KeyStatus]:
        """Remove a key at once: the tokens that it signed are refused from the next look of each process on. For a key that leaked.

        The key that signs is replaced by the one that waits, which signs from now on. Answers what is left. Raises ConfigurationError for
        an unknown ``kid``, and when no other key could sign.
        """
        with self._alone():
            files = {file.key.kid: file for file in read_folder(self._path)}
            if kid not in files:
                raise ConfigurationError(f"There is no key {kid[:64]!r}.")
            states = {status.kid: status.state for status in self._statuses([*files.values()])}
            del files[kid]
            if "signing" not in (states[each] for each in files):
                self._promote(files)
            self._file(kid).unlink()
            self._sync()
            return self._statuses([*files.values()])

    def _promote(self, files: dict[str, KeyFile]) -> None:
        now = float(int(self._clock.time()))
        waiting = [file for file in files.values() if file.signs_from > now]
        if not waiting:
            raise ConfigurationError(
                "No other key waits to sign: make one with `keys signing rotate`, and retire this one when all processes know that."
            )
        first = min(waiting, key=lambda file: file.signs_from)
        files[first.key.kid] = replace(first, signs_from=now)
        self._write(files[first.key.kid])

    def _statuses(self, files: list[KeyFile]) -> list[KeyStatus]:
        now = self._clock.time()
        return [
            KeyStatus(
                term.key.kid,
                term.key.algorithm,
                term.state(now),
                term.starts,
                term.until if term.until != float("inf") else None,
            )
            for term in terms_of(files, self._ttl_s, ())
        ]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self._path.mkdir(mode=0o700, exist_ok=True)
            self._check_private()
            folder = os.open(self._path, os.O_RDONLY)
        except OSError as error:
            raise ConfigurationError(f"{self._path} cannot be used as a folder: {error.strerror}") from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise ConfigurationError(f"Somebody else changes the keys of {self._path}.") from None
        except OSError as error:
            raise ConfigurationError(f"{self._path} cannot be changed: {error.strerror}") from None
        finally:
            os.close(folder)  # and with it the lock

    def _check_private(self) -> None:
        if self._path.stat().st_mode & S_IRWXO:
            raise ConfigurationError(f"{self._path} is open to every account here: chmod 700 it")

    def _write(self, file: KeyFile) -> None:
        """Under another name first, so that nobody ever reads half a key."""
        owner, draft = self._path.stat(), self._path / f".{file.key.kid}.{secrets.token_hex(4)}"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as target:
                if os.geteuid() == 0:
                    os.fchown(target.fileno(), owner.st_uid, owner.st_gid)
                target.write(file.document())
                target.flush()
                os.fsync(target.fileno())
            draft.replace(self._file(file.key.kid))
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        self._sync()

    def _sync(self) -> None:
        folder = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _file(self, kid: str) -> Path:
        return self._path / f"{kid}.pem"


def _new_kid(now: float) -> str:
    """The day for people, and enough chance that no two are alike."""
    return f"{datetime.fromtimestamp(now, UTC):%Y%m%d}-{secrets.token_hex(4)}"
