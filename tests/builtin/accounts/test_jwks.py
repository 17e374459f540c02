"""``/.well-known/jwks.json`` on a service that rotates its keys while it runs."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.builtin.accounts.router.jwks import router
from app.builtin.accounts.service import provide_accounts
from app.core.errors import ConfigurationError
from app.core.resilience import ManualClock, SystemClock
from app.core.security import InvalidToken, KeyRotation, TokenKey, TokenService
from app.main import create_app
from app.registry import Feature
from app.settings import Settings, TokenSettings
from tests.gated import serving

pytestmark = pytest.mark.usefixtures("clean_store")
ACCOUNTS = Feature(name="accounts", router=router, provides=provide_accounts)
PATH = "/.well-known/jwks.json"
SECRET, NEXT = "the secret of the tests of published keys", "the next secret of the tests of published keys"
PUBLIC = {"kty", "kid", "use", "alg", "crv", "x", "y", "n", "e"}


async def test_public_keys_of_every_kind_are_published_and_nothing_else_of_them(
    make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.core.security._key_file._RSA_BITS", 2048)
    hour_ago = ManualClock(start=SystemClock().time() - 3600)
    for algorithm in ("EdDSA", "ES256", "RS256"):
        KeyRotation(tmp_path, ttl_s=86_400, clock=hour_ago).rotate(algorithm, lead_s=600)
        hour_ago.advance(700)
    documents = [file.read_text() for file in tmp_path.iterdir()]  # noqa: ASYNC240 - nothing else runs yet
    token = TokenSettings(keys_dir=tmp_path, ttl_s=86_400)
    async with serving(make_settings(token=token, secret_key=SECRET), ACCOUNTS, tokens=None) as service:
        answer = await service.client.get(PATH)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/jwk-set+json")
        assert answer.headers["cache-control"] == "public, max-age=300"
        assert "ratelimit" in answer.headers
        keys = answer.json()["keys"]
        assert [key["alg"] for key in keys] == ["EdDSA", "ES256", "RS256"]
        assert set().union(*keys) <= PUBLIC
        for document in documents:
            lines = document.split("-----")[2].split()
            assert [line for line in lines if line[:16] in answer.text] == []
        tokens = service.platform.require(TokenService)
        assert tokens.verify(tokens.issue(str(uuid4())).token).id


async def test_of_secrets_nothing_is_published_and_the_next_one_is_accepted_before_it_signs(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(secret_key=SECRET, secret_keys_accepted=f"{NEXT},{SECRET}")
    other = TokenService(
        [TokenKey.from_secret(NEXT)], issuer="gatehouse", audience="gatehouse", clock=SystemClock()
    )
    async with serving(settings, ACCOUNTS, tokens=None) as service:
        answer = await service.client.get(PATH)
        assert (answer.status_code, answer.json()) == (200, {"keys": []})
        user = UUID(int=7)
        tokens = service.platform.require(TokenService)
        assert tokens.verify(other.issue(str(user)).token).id == str(user)
        with pytest.raises(InvalidToken):
            other.verify(tokens.issue(str(user)).token)


def test_a_folder_that_cannot_serve_stops_the_start_and_names_the_setting(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    for folder, reason in ((tmp_path, "holds no key"), (tmp_path / "nowhere", "No such file")):
        settings = make_settings(token=TokenSettings(keys_dir=folder))
        with pytest.raises(ConfigurationError, match=rf"^TOKEN__KEYS_DIR: .*{reason}"):
            create_app(settings, registry=[ACCOUNTS])
