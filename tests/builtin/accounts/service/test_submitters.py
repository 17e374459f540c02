"""What the submitter of a job may do when it runs."""

from uuid import UUID

from app.builtin.accounts.service.submitters import AccountSubmitters
from app.core.context import Principal
from app.core.security import oidc_user_id
from tests.builtin.accounts.desks import Accounts


async def test_rights_that_he_had_and_has_count_and_of_a_closed_account_none(accounts: Accounts) -> None:
    user = await accounts.add_user()
    await accounts.write(
        "UPDATE users SET roles = '{cpu_user}', scopes = '{read:records}' WHERE id = :id", id=user.id
    )
    submitters = AccountSubmitters(accounts.database)
    had = Principal(
        str(user.id), frozenset({"run:cpu_job", "write:records"}), frozenset({"cpu_user", "admin"}), "tenant"
    )
    now = await submitters.rights_of(had)
    assert now is not None
    assert now == Principal(had.id, frozenset({"run:cpu_job"}), frozenset({"cpu_user"}), "tenant")
    for change, remains in (
        ("UPDATE users SET roles = '{}' WHERE id = :id", True),
        ("UPDATE users SET is_active = false WHERE id = :id", False),
        ("DELETE FROM users WHERE id = :id", False),
        ("DELETE FROM deleted_users WHERE id = :id", False),
    ):
        await accounts.write(change, id=user.id)
        found = await submitters.rights_of(had)
        assert (found is not None) == remains
        assert found is None or not (found.roles or found.scopes)


async def test_users_of_other_issuers_keep_what_they_had(accounts: Accounts) -> None:
    submitters = AccountSubmitters(accounts.database)
    supabase = UUID("3f0c0f6e-8a53-4d53-9a8e-6a6b1b0f5f11")
    for name in (str(oidc_user_id("https://issuer.example", "joe")), str(supabase), "joe"):
        had = Principal(name, frozenset({"a"}), frozenset({"b"}))
        assert await submitters.rights_of(had) is had
