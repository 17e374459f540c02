"""A folder of signing keys, watched: a process that runs takes up what is put there, and nothing that is broken."""

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Protocol

import structlog

from app.core.errors import ConfigurationError
from app.core.security._files import exposed_files
from app.core.security._key_file import MAX_FILE_BYTES, KeyFile
from app.core.security._key_set import KeySet, KeyTerm
from app.core.security._keys import TokenKey

CHECK_S = 2.0
MARGIN_S = 60.0
MAX_FILES = 32

_log = structlog.get_logger(__name__)
_State = tuple[tuple[str, int, int, int, int], ...]


class _Clock(Protocol):
    def time(self) -> float: ...
    def monotonic(self) -> float: ...


class KeyFolder:
    """The keys in the files ``<kid>.pem`` of ``path``; hand it to ``TokenService`` as its ``keys``.

    ttl_s: seconds that our tokens live; for so long, and a minute, a key verifies after another one has begun to sign.
    secrets: the HS256 keys that signed before there was a folder, the first one last. They verify until the key that says ``follows:
        SECRET_KEY`` has signed for ``ttl_s`` seconds, and not at all without such a key.

    The folder is looked at every ``CHECK_S`` seconds (2) when a token comes, by names and times of change; files are read when these
    differ. What cannot be read, and a folder that has lost its keys, is logged once (``tokens.keys_not_read``) and changes nothing.
    Raises ConfigurationError at the start for anything of that, for files that every account may read, and when no key signs yet.
    """

    def __init__(self, path: Path, *, ttl_s: int, clock: _Clock, secrets: Sequence[TokenKey] = ()) -> None:
        self._path = path
        self._ttl_s = ttl_s
        self._clock = clock
        self._secrets = tuple(secrets)
        self._seen: _State | None = _state_of(path)
        self._told: str | None = None
        self._set = self._read()
        self._next_at = clock.monotonic() + CHECK_S

    def current(self) -> KeySet:
        """The keys of now."""
        if self._clock.monotonic() >= self._next_at:
            self._next_at = self._clock.monotonic() + CHECK_S
            self._look()
        return self._set

    def _look(self) -> None:
        try:
            state = _state_of(self._path)
            if state == self._seen:
                return
            self._set = self._read()
        except ConfigurationError as error:
            # Tried again at every look, because the cause may lie outside (rights, a mount); told once.
            if (reason := str(error)) != self._told:
                _log.error("tokens.keys_not_read", reason=reason, known=self._set.kids)
            self._told, self._seen = reason, None
        else:
            self._told, self._seen = None, state
            _log.info("tokens.keys_read", kids=self._set.kids)

    def _read(self) -> KeySet:
        files = read_folder(self._path)
        keys = KeySet(terms_of(files, self._ttl_s, self._secrets))
        now = self._clock.time()
        if not any(term.state(now) == "signing" for term in keys.terms):
            raise ConfigurationError(f"{self._path} has no key that signs already")
        return keys

    def __repr__(self) -> str:
        return f"KeyFolder({str(self._path)!r})"


def read_folder(path: Path) -> list[KeyFile]:
    """The keys of a folder. Raises ConfigurationError that names the file, or the folder when there is none or it holds none."""
    names = _names(path)
    if not names:
        raise ConfigurationError(f"{path} holds no key; `python -m app keys signing rotate` makes one")
    try:
        exposed = exposed_files(names)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be looked at: {error.strerror}") from None
    if exposed:
        raise ConfigurationError(f"{exposed[0]} can be read or written by every account here: chmod 600 it")
    return [_read_file(name) for name in names]


def terms_of(files: Sequence[KeyFile], ttl_s: int, secrets: Sequence[TokenKey]) -> list[KeyTerm]:
    """When each key signs and verifies: each until the next one begins, and then as long as its tokens live."""
    ordered = sorted(files, key=lambda file: (file.signs_from, file.key.kid))
    ends = [file.signs_from for file in ordered[1:]] + [inf]
    lasting = ttl_s + MARGIN_S
    terms = [
        KeyTerm(file.key, file.signs_from, end, end + lasting)
        for file, end in zip(ordered, ends, strict=False)
    ]
    first = next((file.signs_from for file in ordered if file.follows_secret), None)
    if first is None or not secrets:
        return terms
    signing, *accepted = secrets
    terms.append(KeyTerm(signing, -inf, first, first + lasting))
    return terms + [KeyTerm(each, until=first + lasting) for each in accepted]


def _names(path: Path) -> list[Path]:
    try:
        names = sorted(each for each in path.iterdir() if each.suffix == ".pem" and each.name[0] != ".")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read as a folder: {error.strerror}") from None
    if len(names) > MAX_FILES:
        raise ConfigurationError(f"{path} holds more than {MAX_FILES} keys")
    return names


def _read_file(path: Path) -> KeyFile:
    try:
        return KeyFile.parse(path.stem, _beginning_of(path))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{path} is no signing key: {error}") from None


def _beginning_of(path: Path) -> bytes:
    if not path.is_file():  # to open a pipe would wait for whoever writes into it
        raise ConfigurationError("it is no file")
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _state_of(path: Path) -> _State:
    """What changes when a file does; links count as what they lead to, since mounted secrets are replaced by turning a link."""
    try:
        found = [(name.name, name.stat()) for name in _names(path)]
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be looked at: {error.strerror}") from None
    return tuple((name, stat.st_ctime_ns, stat.st_mode, stat.st_size, stat.st_ino) for name, stat in found)
