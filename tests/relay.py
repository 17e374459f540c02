"""A socket in front of a PostgreSQL's, which counts what a client sends."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, unquote

from sqlalchemy import make_url

_SOCKET = ".s.PGSQL.5432"


class Relay:
    """Hands everything on. ``sent``: what clients sent, one entry for each time that the server had to be waited for."""

    def __init__(self, server: str, url: str) -> None:
        self._server = server
        self.url = url
        self.sent: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(self._server)
        back = asyncio.create_task(_pass_on(theirs, writer))
        while chunk := await reader.read(65_536):
            self.sent.append(chunk)
            ours.write(chunk)
        ours.close()
        await back


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
    writer.close()


@contextlib.asynccontextmanager
async def relayed(url: str) -> AsyncIterator[Relay]:
    """A relay to the server of ``url``, which has a socket in a folder; close what is connected to it before the end."""
    place = make_url(url)
    folder = tempfile.mkdtemp(prefix="gatehouse-relay-")
    relay = Relay(
        f"{unquote(str(place.query['host']))}/{_SOCKET}",
        place.set(query={}).render_as_string(hide_password=False) + f"?host={quote(folder)}",
    )
    server = await asyncio.start_unix_server(relay.serve, Path(folder) / _SOCKET)
    try:
        yield relay
    finally:
        server.close()
        await server.wait_closed()
        shutil.rmtree(folder)
