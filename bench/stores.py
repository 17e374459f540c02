"""A PostgreSQL and a Valkey of the benchmark's own."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from app.dev import EmbeddedPostgres, EmbeddedValkey, server_account


class Stores(NamedTuple):
    """Their URLs, which hold their passwords."""

    postgres: str
    valkey: str


@contextlib.contextmanager
def running_stores(folder: Path) -> Iterator[Stores]:
    """Both servers, with their data in ``folder``, which becomes theirs, until the block ends."""
    server_account().own(folder)
    with contextlib.ExitStack() as stack:
        postgres = EmbeddedPostgres(folder / "postgres", durable=False)
        valkey = EmbeddedValkey(folder / "valkey", durable=False)
        for each in (postgres, valkey):
            each.start()
            stack.callback(each.kill)
        yield Stores(postgres.url(), valkey.url(0))
