"""The catalogue of forged tokens at a real gate: one answer to all of them."""

import httpx2

from app.core.http import APIRouter, TokenVerifier, api_worker, enforce_all_policies
from app.core.policies import JobConfig
from app.registry import Feature
from app.settings import Settings
from tests.core.security.forge import sign
from tests.core.security.forgeries import forged_tokens, token_service
from tests.gated import Service, serving


def desk() -> Feature:
    """One closed route and one public one."""
    router = APIRouter()
    closed, public = JobConfig(rate_limit=None), JobConfig.public()

    @router.get("/closed", dependencies=[enforce_all_policies("closed", closed)])
    @api_worker(closed)
    async def behind() -> str:
        return "behind the gate"

    @router.get("/public", dependencies=[enforce_all_policies("public", public)])
    @api_worker(public)
    async def before() -> str:
        return "for all"

    return Feature(name="desk", router=router, provides=lambda *_: {TokenVerifier: token_service()})


async def ask(service: Service, path: str, token: str) -> httpx2.Response:
    field = b"Bearer " + token.encode("utf-8", "surrogatepass")
    return await service.client.get(path, headers=[(b"authorization", field)])


async def test_every_forged_token_is_the_same_401_and_none_is_an_error_of_ours(
    settings: Settings, clean_store: None
) -> None:
    login = settings.login.model_copy(update={"failed_auth_per_ip": 1_000_000})
    settings = settings.model_copy(update={"login": login})
    async with serving(settings, desk(), tokens=None) as service:
        answers = {name: await ask(service, "/closed", token) for name, token in forged_tokens().items()}
        on_public = {
            name: await ask(service, "/public", forged_tokens()[name])
            for name in ("alg 'none' empty", "two sub", "typ 'JWT'", "expired")
        }
        good = [await ask(service, path, sign()) for path in ("/closed", "/public")]
    assert [answer.status_code for answer in good] == [200, 200]
    assert len(answers) >= 150
    assert {name for name, answer in answers.items() if "expired" in answer.text} == {"expired"}
    seen = {
        (
            answer.status_code,
            answer.headers["content-type"],
            answer.headers["www-authenticate"],
            answer.json()["title"],
            answer.json()["detail"].replace("has expired", "is not valid"),
        )
        for answer in (*answers.values(), *on_public.values())
    }
    assert seen == {
        (401, "application/problem+json", 'Bearer error="invalid_token"', "Unauthorized", "The access token is not valid.")
    }  # fmt: skip
