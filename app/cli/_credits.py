"""Commands about credits: what they do, without how they are asked."""

from typing import Any

from app.builtin.credits.repository import LedgerRepository
from app.builtin.credits.repository.ledger import AccountState
from app.builtin.credits.service import account_of, grant, set_plan
from app.cli._sessions import one_session
from app.core.policies import CREDIT, Balance, HoldBook
from app.core.valkey import StoreError, ValkeyClient
from app.settings import Settings


async def give(settings: Settings, email: str, amount: int, key: str | None, note: str) -> dict[str, Any]:
    """Give whole credits to a user. Raises EntityNotFoundError for an unknown address and Conflict for a key of another grant."""
    async with one_session(settings) as session:
        account = await account_of(session, email)
        posted = await grant(session, account, amount, key=key and f"cli:{key}", note=note)
        state = await LedgerRepository(session).state(account)
    await _tell(settings, account, posted.balance)
    return _shown(email, account, state) | {"granted": amount if posted.is_new else 0}


async def balance(settings: Settings, email: str) -> dict[str, Any]:
    """What a user has. Raises EntityNotFoundError."""
    async with one_session(settings) as session:
        account = await account_of(session, email)
        return _shown(email, account, await LedgerRepository(session).state(account))


async def plan(settings: Settings, email: str, name: str | None, time_zone: str | None) -> dict[str, Any]:
    """Put a user on a plan or into a time zone. Raises EntityNotFoundError and Unprocessable."""
    async with one_session(settings) as session:
        account = await account_of(session, email)
        await set_plan(session, account, plan=name, time_zone=time_zone)
        return _shown(email, account, await LedgerRepository(session).state(account))


async def _tell(settings: Settings, account: str, balance: Balance) -> None:
    """The store, so that the credits count at once. If it is away, the reconciler tells it within a minute."""
    if settings.store_url is None:
        return
    store = ValkeyClient(settings.store_url, timeout_s=1.0, client_name=f"{settings.app_name}-cli")
    try:
        await HoldBook(store).sync(account, balance)
    except StoreError:
        return
    finally:
        await store.close()


def _shown(email: str, account: str, state: AccountState | None) -> dict[str, Any]:
    state = state or AccountState(Balance(0, 0))
    return {
        "email": email.strip(),
        "account": account,
        "balance": state.balance.micro // CREDIT,
        "balance_micro": state.balance.micro,
        "plan": state.plan,
        "time_zone": state.time_zone,
    }
