"""The whole service with one user, his credits and one record of his: for tests that go over every endpoint."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr
from sqlalchemy import text

from app.builtin.accounts.models import User
from app.core.db import Database
from app.core.http import GatedRoute, Platform
from app.core.security import TokenService, known_roles, known_scopes
from app.features.records.models import Record
from app.main import create_app
from app.settings import ExternalDataSettings, Settings
from tests.apps import client_of, running
from tests.credited import give
from tests.gated import Service
from tests.upstream import serving_upstream


@dataclass
class Site(Service):
    """A running service, a client that presents nothing, and what there is to ask for."""

    owner: UUID
    record: UUID

    def bearer(
        self,
        scopes: Iterable[str] = known_scopes,
        roles: Iterable[str] = known_roles,
        user: UUID | None = None,
    ) -> dict[str, str]:
        """The header of the owner, or of somebody else, with these rights; all of them if none are named. He has just shown a second
        factor.
        """
        tokens, methods = self.platform.require(TokenService), ("pwd", "otp", "mfa")
        token = tokens.issue(str(user or self.owner), scopes=scopes, roles=roles, methods=methods).token
        return {"Authorization": f"Bearer {token}"}

    async def rows(self) -> tuple[int, ...]:
        """How many rows each of the tables has, and how often the record was changed."""
        async with self.platform.database.session() as session:
            counts = text(
                "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM records),"
                " (SELECT coalesce(sum(version), 0) FROM records),"
                " (SELECT count(*) FROM credit_accounts), (SELECT count(*) FROM credit_ledger)"
            )
            return tuple((await session.execute(counts)).one())


def strict(platform: Platform) -> dict[str, str]:
    """Overrides for a site of three requests a caller, where the code allows more."""
    variables: dict[str, str] = {}
    for gate in (route.gate for route in platform.routes if route.gate is not None):
        for limit in (limit for limit in gate.config.limits if limit.quota > 3):
            path = f"POLICIES__{gate.name}__RATE_LIMIT__{limit.name}__".upper()
            # A bucket that is not full again before a slow machine has asked four times.
            options = {"MAX_TOKENS": "3", "REFILL_RATE": "0.001"} if limit.burst else {"QUOTA": "3"}
            variables |= {path + name: value for name, value in options.items()}
    return variables


@contextmanager
def routes_given_back(app: FastAPI) -> Iterator[None]:
    """Routes are the process's, and serve the app that was started last: afterwards they are those of the one before again."""
    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    before = [(route, {**route._bindings}) for route in routes if isinstance(route, GatedRoute)]
    yield
    for route, bindings in before:
        route._bindings = bindings


@asynccontextmanager
async def whole_site(settings: Settings, database: Database) -> AsyncIterator[Site]:
    """``settings`` may name servers that do not answer; ``database`` must, and holds the user while this is open.

    External data come from a server of this site's own.
    """
    async with database.session() as session:
        user = User(email=f"{uuid4()}@example.com", password_hash="none")
        session.add(user)
        await session.flush()
        record = Record(owner_id=user.id, name="first")
        session.add(record)
        await session.commit()
    await give(database, str(user.id), 1_000_000)
    try:
        async with serving_upstream() as upstream:
            outside = ExternalDataSettings(url=SecretStr(upstream.url), allow_private=True)
            app = create_app(settings.model_copy(update={"external_data": outside}))
            with routes_given_back(app):
                async with running(app), client_of(app) as client:
                    yield Site(app, client, user.id, record.id)
    finally:
        async with database.session() as session:
            await session.execute(text("DELETE FROM users WHERE id = :id"), {"id": user.id})
            # The ledger's trigger refuses this to everybody else.
            await session.execute(text("SET LOCAL session_replication_role = replica"))
            for table, column in (
                ("credit_ledger", "account_id"),
                ("credit_grants", "account_id"),
                ("credit_accounts", "id"),
            ):
                await session.execute(text(f"DELETE FROM {table} WHERE {column} = :id"), {"id": str(user.id)})
            await session.execute(text("DELETE FROM audit_events WHERE subject_id = :id"), {"id": user.id})
            await session.execute(
                text("DELETE FROM webhook_endpoints WHERE owner = :id"), {"id": str(user.id)}
            )
            await session.commit()
