"""`make run`: servers, schema, users, API, worker; and everything stopped again, whatever ends it."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from app.core.errors import GatehouseError
from app.dev._local import CLONE, LocalFolder
from app.dev._process import ServerFailed, ServerProcess
from app.dev._program import SERVE, WORK, Program, listen
from app.dev._welcome import welcome
from app.dev.postgres import EmbeddedPostgres
from app.dev.valkey import EmbeddedValkey
from app.settings import DEVELOPMENT_SECRET, Settings, describe_errors

DATABASE = "gatehouse"
WATCH_S = 0.2
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Runner:
    """One run for one clone. ``serve`` and ``work`` are the command lines of the API and of the worker, replaced in tests;
    ``until_orphaned`` ends the run when the process that started us (make) has gone.

    Not for production: use `python -m app serve` under a process manager.
    """

    def __init__(
        self,
        clone: Path = CLONE,
        *,
        serve: Sequence[str] = SERVE,
        work: Sequence[str] = WORK,
        until_orphaned: bool = False,
    ) -> None:
        self._clone = clone
        self._commands = {"The API": serve, "The worker": work}
        self._parent = os.getppid() if until_orphaned else None
        self._servers: list[ServerProcess] = []
        self._postgres: EmbeddedPostgres | None = None
        self._programs: list[Program] = []
        self._grace_s = 10.0
        self._stopping = False

    def run(self) -> int:
        """Run until a signal (0) or a failure (1, with one line on standard error) and leave nothing behind."""
        for number in _STOP_SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
                signal.signal(number, self._on_signal)
        try:
            self._start()
            self._watch()
        except KeyboardInterrupt:
            return 0
        except ValidationError as error:
            return _fail(describe_errors(error))
        except (GatehouseError, OSError) as error:
            return _fail(str(error))
        finally:
            self._stop()
        return 0

    def _start(self) -> None:
        settings = Settings()
        self._grace_s = max(settings.shutdown_grace_s, settings.jobs.grace_s)
        local = LocalFolder(self._clone)
        local.lock()
        with listen(settings.host, settings.port) as listener, listen("127.0.0.1", 0) as probes:
            url = _url(listener, settings.host)
            local.announce(f"process {os.getpid()}, {url}")
            environment = self._launch_servers(settings, local)
            self._launch_programs((listener, probes), settings, {**os.environ, **environment})
            local.write_environment({"HOST": settings.host, "PORT": str(settings.port), **environment})
            credentials = self._prepare(environment.get("DATABASE_URL") or settings.postgres_url or "", local)
            for program in self._programs:
                program.wait_ready()
        sys.stdout.write(welcome(url, credentials, local.path))
        sys.stdout.flush()

    def _launch_programs(
        self, listeners: tuple[socket.socket, ...], settings: Settings, environment: dict[str, str]
    ) -> None:
        """The API, and a worker, which needs few processes on somebody's own machine; it says on a port of its own whether it is ready."""
        if "processes" not in settings.jobs.model_fields_set:
            environment |= {"JOBS__PROCESSES": "1"}
        for listener, (name, command) in zip(listeners, self._commands.items(), strict=True):
            program = Program(listener, environment, name=name, clone=CLONE, command=command)
            self._programs.append(program)
            program.launch()

    def _launch_servers(self, settings: Settings, local: LocalFolder) -> dict[str, str]:
        """Launch what has no URL yet, all at once; returns what the API's environment needs besides ours."""
        place = local.servers()
        environment = _keys(settings, local)
        if settings.store_url is None:
            valkey = EmbeddedValkey(place / "valkey", account=local.account)
            self._launch(valkey)
            environment |= {"VALKEY_URL": valkey.url(), "EMBEDDED_SERVERS": "true"}
        if settings.postgres_url is None:
            self._postgres = EmbeddedPostgres(place / "postgres", account=local.account)
            self._launch(self._postgres)
            environment |= {"DATABASE_URL": self._postgres.url(DATABASE), "EMBEDDED_SERVERS": "true"}
        return environment

    def _prepare(self, url: str, local: LocalFolder) -> dict[str, str]:
        """Make the database, its tables and users while the API starts; returns the users' passwords."""
        # Half a second of imports, for which neither the servers nor the API need wait.
        from app.dev._prepare import USERS, make_database, prepare  # noqa: PLC0415

        for server in self._servers:
            server.wait_ready()
        if self._postgres is not None:
            asyncio.run(make_database(self._postgres.url(), DATABASE, url))
        credentials = local.credentials(USERS)
        asyncio.run(prepare(url, credentials))
        return credentials

    def _launch(self, server: ServerProcess) -> None:
        self._servers.append(server)
        server.launch()

    def _watch(self) -> None:
        """Return when make has gone; raise ``ServerFailed`` when something that we started stops by itself."""
        while self._parent is None or os.getppid() == self._parent:
            parts: list[ServerProcess | Program] = [*self._servers, *self._programs]
            for part in parts:
                if not part.is_running:
                    raise ServerFailed(f"{part.name} stopped by itself: {part.last_words()}")
            time.sleep(WATCH_S)

    def _stop(self) -> None:
        """The API and the worker first, because their last requests and jobs need the servers."""
        self._stopping = True
        for program in self._programs:
            program.ask_to_stop()
        for program in self._programs:
            program.stop(self._grace_s + 2)
        for server in self._servers:
            server.ask_to_stop()
        for server in self._servers:
            server.stop()
        for number in _STOP_SIGNALS:  # an impatient last one must not change the exit code
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """The first signal stops in order; another one does not wait for requests in flight and jobs in work."""
        if not self._stopping:
            self._stopping = True
            raise KeyboardInterrupt
        for program in self._programs:
            program.hurry()


def _keys(settings: Settings, local: LocalFolder) -> dict[str, str]:
    """Keys made for this clone, for those that the environment does not set."""
    keys = local.keys()
    if settings.secret_key.get_secret_value() != DEVELOPMENT_SECRET:
        del keys["SECRET_KEY"]
    if settings.encryption_keys or settings.db_encryption_key:
        del keys["ENCRYPTION_KEYS"]
    return keys


def _url(listener: socket.socket, host: str) -> str:
    """The API's URL for a person on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared only
    return f"http://{shown}:{listener.getsockname()[1]}"


def _fail(message: str) -> int:
    sys.stderr.write(" ".join(f"make run: {message}".split()) + "\n")
    return 1
