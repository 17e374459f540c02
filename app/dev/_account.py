"""Which system account runs the embedded servers, and whether it can reach a folder."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from app.core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Account:
    """Numeric ids that a server process runs under."""

    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        """Whether processes must change their ids to become this account."""
        return self.uid != os.geteuid()

    def own(self, path: Path) -> None:
        """Give one file or folder of ours to the account; does nothing when the account is ours."""
        if self.is_other:
            os.chown(path, self.uid, self.gid)

    def make_folder(self, path: Path) -> Path:
        """Make a folder only the account may enter (0700); its parents must exist. An existing one is set right.

        Raises ``ConfigurationError`` when the path is a link or belongs to somebody else.
        """
        path.mkdir(mode=0o700, exist_ok=True)
        refuse_foreign(path, {os.geteuid(), self.uid})
        path.chmod(0o700)
        self.own(path)
        return path

    def let_through(self, path: Path) -> None:
        """Close a folder of ours to everybody (0700) but let the account walk through it (0710) when it is another."""
        if self.is_other:
            os.chown(path, -1, self.gid)
        path.chmod(0o710 if self.is_other else 0o700)

    def can_reach(self, folder: Path) -> bool:
        """Whether the account may walk down to ``folder``, judged by mode bits (access lists are not read)."""
        return all(self._may_enter(part) for part in (folder, *folder.parents))

    def _may_enter(self, folder: Path) -> bool:
        info = folder.stat()
        if info.st_uid == self.uid:
            return bool(info.st_mode & stat.S_IXUSR)
        if info.st_gid == self.gid:
            return bool(info.st_mode & stat.S_IXGRP)
        return bool(info.st_mode & stat.S_IXOTH)


def server_account() -> Account:
    """Our own account; as root the unprivileged ``nobody``, because PostgreSQL refuses to run as root.

    No account is added to the system. It must have a name there, since initdb looks it up.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ConfigurationError(
            "running as root needs the system account `nobody` for the servers; run as an ordinary user"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def refuse_foreign(path: Path, owners: set[int]) -> None:
    """Raise ``ConfigurationError`` unless ``path`` is a real folder of one of ``owners``: temporary folders are open to everybody."""
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid not in owners:
        raise ConfigurationError(f"{path} is not a folder of ours; remove it and start again")
