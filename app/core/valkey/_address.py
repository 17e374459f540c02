"""Where the server is, and as whom we speak to it."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from valkey.asyncio.connection import SSLConnection, UnixDomainSocketConnection, parse_url

from app.core.errors import ConfigurationError

_CERTIFICATES = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed ``valkey://``, ``redis://``, ``valkeys://``, ``rediss://`` (TLS) or ``unix://`` URL.

    Its repr shows no credentials.
    """

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Understand a URL as valkey-py does.

        Raises ``ConfigurationError`` that does not repeat the URL, for it may hold a password.
        """
        try:
            options: dict[str, Any] = dict(parse_url(url))
            if options.get("connection_class") is UnixDomainSocketConnection:
                options["path"]  # a KeyError, for without it we would connect to localhost
            tls = _tls(options) if options.get("connection_class") is SSLConnection else None
            names = ("host", "port", "path", "db", "username", "password")
            return cls(tls=tls, **{name: options[name] for name in names if name in options})
        except (ValueError, TypeError, KeyError, OSError):
            # `from None`: urllib quotes parts of what it could not parse, and those may be the password.
            raise ConfigurationError(
                "The Valkey URL cannot be understood; write valkey://user:password@host:port/db "
                "(or valkeys://, redis://, rediss://, unix:///path?db=0) "
                "and percent-encode special characters in the password"
            ) from None

    def __str__(self) -> str:
        return f"{self.path or f'{self.host}:{self.port}'}/{self.db}"

    async def open(self, loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.Protocol]) -> None:
        """Connect and hand the transport to the protocol that ``factory`` makes. Raises ``OSError``."""
        if self.path is not None:
            await loop.create_unix_connection(factory, self.path)
            return
        name = self.host if self.tls is not None else None
        await loop.create_connection(factory, self.host, self.port, ssl=self.tls, server_hostname=name)


def _tls(options: dict[str, Any]) -> ssl.SSLContext:
    """Certificates and host names are checked unless the URL's query says otherwise (``ssl_check_hostname``,
    ``ssl_cert_reqs``).
    """
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    required = options.get("ssl_cert_reqs", "required")
    context.check_hostname = required == "required" and options.get("ssl_check_hostname", True)
    context.verify_mode = _CERTIFICATES[required]
    if "ssl_certfile" in options:
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    return context
