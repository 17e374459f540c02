"""Files with secrets in them, and who may read them."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

_OTHERS = stat.S_IROTH | stat.S_IWOTH


def exposed_files(paths: Iterable[Path]) -> list[Path]:
    """Those of these files that any account of this machine may read or write; absent ones are none. Links count as what they lead to.

    Group rights are not judged: that is how containers hand out secrets. On Windows, which has other rights, always none.
    """
    return [path for path in paths if os.name == "posix" and _is_exposed(path)]


def _is_exposed(path: Path) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & _OTHERS)
