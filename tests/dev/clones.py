"""Folders that are clones to `make run`."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.dev._local import LocalFolder, outside_path
from tests.servers import CopiedPostgres, place

_NOT_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


@contextmanager
def new_clone(*, mode: int = 0o755) -> Iterator[Path]:
    """Not under pytest's folders, which are closed to the servers' account."""
    with tempfile.TemporaryDirectory(
        prefix="gatehouse-clone-", dir=place(), ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(mode)
        yield Path(folder)


@contextmanager
def data_outside_of(clone: Path) -> Iterator[Path]:
    """Where a clone's servers have their data if their account cannot enter it; removed at the end."""
    outside = outside_path(clone)
    try:
        yield outside
    finally:
        shutil.rmtree(outside, ignore_errors=True)


def prepare(clone: Path, source: Path) -> None:
    """As if it had been started before: to make and to migrate a database takes longer than all else. ``source``: data to copy."""
    server = CopiedPostgres(LocalFolder(clone).servers() / "postgres", source)
    server.copy()
    configuration = server.data / "postgresql.auto.conf"
    lines = configuration.read_text().splitlines(keepends=True)
    durable = [line for line in lines if not line.startswith(_NOT_DURABLE)]
    assert len(durable) == len(lines) - len(_NOT_DURABLE)
    configuration.write_text("".join(durable))
