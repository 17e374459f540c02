"""Is this configuration safe for production, and does everything that it names answer?"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from dotenv import dotenv_values
from pydantic import BaseModel, SecretStr, ValidationError

from app.cli._doctor_jobs import examine_jobs
from app.cli._policies import policies
from app.core.db import Database, pending
from app.core.errors import ConfigurationError, GatehouseError
from app.core.policies import Overrides
from app.core.security import exposed_files
from app.core.valkey import ValkeyClient
from app.settings import Settings, describe_errors

POSTGRES_VERSIONS = range(15, 19)
OLDEST_VALKEY = 8
_BUDGET_S = 5.0
_REPLICA_STATES = {
    "close": "answers, and is close enough behind to be read from",
    "behind": "is further behind than DB_REPLICA_MAX_LAG_S allows, so it gets no reads",
    "no_standby": "is no standby, so it gets no reads",
    "down": "does not answer",
    "unknown": "cannot be judged while the primary does not answer",
}
_ENV_FILE = Path(".env")


@dataclass(frozen=True, slots=True)
class Finding:
    """One question and its answer; ``detail`` never holds a secret."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a setting's value comes from: environment, .env or default. ``value`` is hidden for a secret."""

    name: str
    source: str
    value: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found. ``ok`` is the answer for a script."""

    findings: tuple[Finding, ...]
    settings: tuple[Source, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing stands against production."""
        return all(finding.ok for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, **asdict(self)}


async def examine() -> Report:
    """Look at the configuration of this environment and at its servers; changes nothing."""
    try:
        # As if for development: the checks that would refuse production are reported below, all of them.
        settings = Settings(app_env="development")
    except ValidationError as error:
        return Report((Finding("configuration", False, describe_errors(error)),), ())
    unsafe = settings.unsafe_for_production()
    findings = [Finding("configuration", False, problem) for problem in unsafe]
    if exposed_files([_ENV_FILE]):
        findings.append(
            Finding("secrets", False, ".env can be read or written by every account here: chmod 600 .env")
        )
    if not unsafe:
        findings.append(Finding("configuration", True, "safe for production"))
    async with asyncio.TaskGroup() as group:
        questions = [group.create_task(ask(settings)) for ask in (_postgres, _replica, _valkey)]
    for question in questions:
        findings += question.result()
    findings.append(await _policies(settings))
    return Report(tuple(findings), (*_sources(settings), *_overrides(settings)))


async def _policies(settings: Settings) -> Finding:
    """Whether every route is guarded and every override fits."""
    try:
        routes = await policies(settings)
    except GatehouseError as error:
        return Finding("policies", False, str(error))
    changed = sum(len(route["overridden"]) for route in routes)
    return Finding(
        "policies", True, f"{len(routes)} routes are accounted for, {changed} options are overridden"
    )


def _overrides(settings: Settings) -> Iterator[Source]:
    """The overrides of policies; none while one of them is wrong, which is a finding."""
    with suppress(GatehouseError):
        for entry in Overrides.load(settings.policies_file, settings.policy_variables).entries:
            yield Source(entry.source, "override", str(entry.value))


async def _postgres(settings: Settings) -> list[Finding]:
    if settings.postgres_url is None:
        return []
    database: Database | None = None
    try:
        database = Database(
            settings.postgres_url, pool_size=1, max_overflow=0, application_name=f"{settings.app_name}-doctor"
        )
        async with asyncio.timeout(_BUDGET_S):
            version = (await database.probe()).server_version
            missing = await pending(database)
            work = [] if missing else await examine_jobs(settings, database)
    except (GatehouseError, TimeoutError) as error:
        return [Finding("PostgreSQL", False, str(error) or "no answer")]
    finally:
        if database is not None:
            await database.close()
    schema = f"{len(missing)} migrations are pending: {', '.join(missing)}" if missing else "at head"
    return [
        Finding(
            "PostgreSQL",
            int(version.partition(".")[0]) in POSTGRES_VERSIONS,
            f"version {version} (15 to 18 are supported)",
        ),
        Finding("schema", not missing, schema),
        *(Finding(*found) for found in work),
    ]


async def _replica(settings: Settings) -> list[Finding]:
    """Whether reads would go to the replica."""
    if settings.postgres_url is None or settings.database_replica_url is None:
        return []
    small: dict[str, Any] = {
        "pool_size": 1,
        "max_overflow": 0,
        "application_name": f"{settings.app_name}-doctor",
    }
    try:
        replica = settings.replica(patience_s=_BUDGET_S, **small)
        database = Database(settings.postgres_url, replica=replica, **small)
    except ConfigurationError as error:
        return [Finding("replica", False, str(error))]
    try:
        status = await replica.check() if replica is not None else None
    finally:
        await database.close()
    state = status.state if status is not None else "unknown"
    return [Finding("replica", state == "close", _REPLICA_STATES[state])]


async def _valkey(settings: Settings) -> list[Finding]:
    if settings.store_url is None:
        return []
    client: ValkeyClient | None = None
    try:
        client = ValkeyClient(
            settings.store_url, timeout_s=_BUDGET_S, client_name=f"{settings.app_name}-doctor"
        )
        # INFO rather than CONFIG GET, which hosted servers forbid.
        info = _fields(await client.execute("INFO", "everything"))
    except (GatehouseError, ValueError) as error:
        return [Finding("Valkey", False, str(error) or "no answer")]
    finally:
        if client is not None:
            await client.close()
    version = info.get("valkey_version", "0 (this is not Valkey)")
    policy = info.get("maxmemory_policy", "unknown")
    return [
        Finding(
            "Valkey",
            int(version.split(".")[0].split()[0]) >= OLDEST_VALKEY,
            f"version {version} ({OLDEST_VALKEY} or newer is supported)",
        ),
        Finding(
            "Valkey memory",
            policy == "noeviction",
            f"maxmemory-policy is {policy}; limits must not be evicted: noeviction",
        ),
    ]


def _fields(answer: bytes) -> dict[str, str]:
    lines = answer.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _sources(settings: Settings) -> Iterator[Source]:
    environment = {name.upper() for name in os.environ}
    file = {name.upper() for name in dotenv_values(_ENV_FILE)}
    for name, value in _flat(settings):
        asked = {name, name.partition("__")[0]}
        source = "environment" if asked & environment else ".env" if asked & file else "default"
        yield Source(name, source, value)


def _flat(settings: Settings) -> Iterator[tuple[str, str]]:
    for name, value in settings:
        if name == "policy_variables":
            continue
        if isinstance(value, BaseModel):
            for inner, part in value:
                yield f"{name}__{inner}".upper(), _shown(type(value).model_fields[inner].annotation, part)
        else:
            yield name.upper(), _shown(type(settings).model_fields[name].annotation, value)


def _shown(annotation: Any, value: Any) -> str:
    if _is_secret(annotation):
        return "set" if value else "not set"
    if isinstance(value, Mapping | list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_is_secret(part) for part in get_args(annotation))
