"""Door: `make run`. The real servers that development and tests start for themselves."""

from app.dev._account import Account, server_account
from app.dev._process import ServerFailed
from app.dev.postgres import EmbeddedPostgres
from app.dev.valkey import EmbeddedValkey

__all__ = ["Account", "EmbeddedPostgres", "EmbeddedValkey", "ServerFailed", "server_account"]
