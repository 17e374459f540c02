"""What API keys need, put together."""

from collections.abc import Mapping
from typing import Any, Protocol

from app.builtin.accounts.service.api_key_store import AccountApiKeys
from app.builtin.accounts.service.api_key_upkeep import ApiKeyUpkeep
from app.builtin.accounts.service.api_keys import ApiKeyDesk, ApiKeyRules
from app.builtin.accounts.service.audit import AuditLog
from app.core.http import Platform
from app.core.policies import EpochBook
from app.core.security import ApiKeys


class ApiKeySettings(Protocol):
    """The settings of API keys."""

    max_days: int
    per_user: int


def provide_api_keys(
    platform: Platform, settings: ApiKeySettings, book: EpochBook, audit: AuditLog
) -> Mapping[type[Any], Any]:
    """The services around API keys, by type. What was noted of their use is written when the platform closes."""
    store = AccountApiKeys(platform.database, platform.clock)
    rules = ApiKeyRules(max_days=settings.max_days, per_user=settings.per_user)
    platform.on_stop.append(store.aclose)
    return {
        ApiKeys: ApiKeys(store, platform.clock),
        AccountApiKeys: store,
        ApiKeyDesk: ApiKeyDesk(book, audit, rules, platform.clock),
        ApiKeyUpkeep: ApiKeyUpkeep(platform.database, platform.clock),
    }
