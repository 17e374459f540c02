"""When the keys of another issuer are fetched, how long they serve, and what an outage is."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.core.errors import Unavailable
from app.core.security import InvalidToken, KeysNotLoaded
from app.core.security._remote_keys import COOL_DOWN_S, MAX_WAITING, RETRY_S, STALE_S, TTL_S
from tests.core.security.project import Project, project_of
from tests.core.security.supabase import ANOTHER, ELLIPTIC, RSA_KEY, USER, jwk
from tests.upstream import reply


@pytest.fixture
async def project() -> AsyncIterator[Project]:
    async with project_of() as project:
        yield project


async def refused(project: Project, text: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        await project.verify(text)
    return caught.value.reason


class TestTheFirstFetch:
    async def test_nothing_is_fetched_before_a_token_needs_it(self, project: Project) -> None:
        ours = project.tokens.issue("u").token
        assert (await project.verify(ours)).id == "u"
        assert await refused(project, "no.token.atall") in {"format", "json"}
        assert project.upstream.requests == []

    async def test_the_first_token_waits_for_the_keys_at_the_projects_own_address(
        self, project: Project
    ) -> None:
        assert (await project.verify(project.token())).id == str(USER)
        assert [request.split("\r\n")[0] for request in project.upstream.requests] == [
            "GET /auth/v1/.well-known/jwks.json HTTP/1.1"
        ]

    async def test_many_first_tokens_are_one_fetch(self, project: Project) -> None:
        texts = [project.token(jti=f"t-{n}") for n in range(50)]
        principals = await asyncio.gather(*map(project.verify, texts))
        assert {principal.id for principal in principals} == {str(USER)}
        assert len(project.upstream.requests) == 1

    async def test_a_caller_who_gives_up_does_not_end_the_fetch_for_the_others(
        self, project: Project
    ) -> None:
        gone = asyncio.create_task(project.verify(project.token(jti="gone")))
        stays = asyncio.create_task(project.verify(project.token(jti="stays")))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await stays).token_id == "stays"
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert project.fetches == ["fetched"]

    async def test_only_so_many_wait_and_one_more_is_told_to_come_back(self, project: Project) -> None:
        project.upstream.always(None)
        waiting = [
            asyncio.create_task(project.verify(project.token(jti=f"t-{n}"))) for n in range(MAX_WAITING)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="being fetched"):
            await project.verify(project.token())
        await project.supabase.aclose()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {KeysNotLoaded}

    async def test_a_token_that_no_key_could_save_makes_nobody_fetch(self, project: Project) -> None:
        for text in (
            project.token(aud="other"),
            project.token(exp=int(project.clock.time()) - 1, iat=int(project.clock.time()) - 60),
            project.token(without=["sub"]),
            project.token(role="anon"),
            project.token(kid=None),
            project.token(alg="HS256", key=b"k" * 32),
        ):
            assert await refused(project, text)
        assert project.upstream.requests == []


class TestRotation:
    async def test_a_new_key_is_found_by_its_id_after_the_cool_down(self, project: Project) -> None:
        await project.verify(project.token())
        project.publish(jwk(ELLIPTIC, "first"), jwk(RSA_KEY, "second"))
        new = project.token(kid="second", key=RSA_KEY, alg="RS256")
        assert await refused(project, new) == "kid"
        project.clock.advance(COOL_DOWN_S)
        assert (await project.verify(new)).id == str(USER)
        assert len(project.upstream.requests) == 2

    async def test_a_storm_of_unknown_ids_is_one_fetch_per_cool_down(self, project: Project) -> None:
        await project.verify(project.token())
        for turn in range(1, 4):
            project.clock.advance(COOL_DOWN_S)
            storm = [project.token(kid=f"made-up-{turn}-{n}") for n in range(100)]
            reasons = await asyncio.gather(*(refused(project, text) for text in storm))
            assert set(reasons) == {"kid"}
            assert len(project.upstream.requests) == 1 + turn
            project.clock.advance(COOL_DOWN_S - 1)
            assert await refused(project, project.token(kid="another")) == "kid"
            assert len(project.upstream.requests) == 1 + turn

    async def test_a_key_that_is_gone_ends_also_the_tokens_that_were_remembered(
        self, project: Project
    ) -> None:
        old = project.token()
        assert (await project.verify(old)) is (await project.verify(old))
        project.publish(jwk(ANOTHER, "second"))
        project.clock.advance(TTL_S)
        await project.verify(old)  # stale while the fetch runs
        await project.settled()
        assert await refused(project, old) == "kid"
        new = project.token(kid="second", key=ANOTHER)
        assert (await project.verify(new)).id == str(USER)

    async def test_another_key_under_the_same_id_takes_its_place(self, project: Project) -> None:
        old = project.token()
        await project.verify(old)
        project.publish(jwk(ANOTHER, "first"))
        project.clock.advance(TTL_S)
        await project.verify(old)
        await project.settled()
        assert await refused(project, old) == "signature"
        assert (await project.verify(project.token(key=ANOTHER))).id == str(USER)

    async def test_a_set_that_grew_lets_remembered_tokens_be(self, project: Project) -> None:
        old = project.token()
        principal = await project.verify(old)
        project.publish(jwk(ELLIPTIC, "first"), jwk(ANOTHER, "second"))
        project.clock.advance(TTL_S)
        await project.verify(old)
        await project.settled()
        assert await project.verify(old) is principal


class TestStaleKeys:
    async def test_keys_serve_without_a_fetch_while_they_are_fresh(self, project: Project) -> None:
        await project.verify(project.token())
        project.clock.advance(TTL_S - 1)
        await project.verify(project.token())
        await project.settled()
        assert len(project.upstream.requests) == 1

    async def test_old_keys_serve_while_new_ones_are_fetched_in_the_background(
        self, project: Project
    ) -> None:
        await project.verify(project.token())
        project.upstream.always(None)
        project.clock.advance(TTL_S)
        assert project.tokens.verify(project.token()).id == str(USER)  # at once: the server says nothing

    async def test_a_remembered_token_has_them_fetched_too(self, project: Project) -> None:
        text = project.token()
        await project.verify(text)
        project.clock.advance(TTL_S)
        project.tokens.verify(text)
        await project.settled()
        assert project.fetches == ["fetched", "fetched"]

    async def test_a_plain_function_in_a_thread_verifies_with_them_and_leaves_the_fetch_to_the_loop(
        self, project: Project
    ) -> None:
        await project.verify(project.token())
        project.clock.advance(TTL_S)
        text = project.token()
        assert (await asyncio.to_thread(project.tokens.verify, text)).id == str(USER)
        assert len(project.upstream.requests) == 1
        await project.verify(text)
        await project.settled()
        assert len(project.upstream.requests) == 2

    async def test_known_keys_serve_for_a_day_while_the_endpoint_is_down(self, project: Project) -> None:
        await project.verify(project.token())
        project.upstream.always(reply(status=500))
        for _ in range(int((STALE_S - 1) // TTL_S)):
            project.clock.advance(TTL_S)
            assert (await project.verify(project.token())).id == str(USER)
            await project.settled()
        assert set(project.fetches[1:]) == {"failed"}
        remembered = project.token()
        await project.verify(remembered)
        project.clock.advance(TTL_S)
        for text in (project.token(), remembered):
            with pytest.raises(KeysNotLoaded):
                await project.verify(text)

    async def test_an_unknown_id_is_an_outage_while_nobody_can_say_whether_it_exists(
        self, project: Project
    ) -> None:
        await project.verify(project.token())
        project.upstream.always(b"")
        project.clock.advance(COOL_DOWN_S)
        with pytest.raises(KeysNotLoaded) as outage:
            await project.verify(project.token(kid="second", key=ANOTHER))
        assert outage.value.status == 503
        assert (await project.verify(project.token())).id == str(USER)
        project.publish(jwk(ANOTHER, "second"))
        project.clock.advance(RETRY_S)
        assert (await project.verify(project.token(kid="second", key=ANOTHER))).id == str(USER)
        assert await refused(project, project.token(kid="third")) == "kid"


class TestOutage:
    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            reply(status=500),
            reply(status=302, location="http://127.0.0.1/elsewhere"),
            reply({"keys": 7}),
            reply(body=b"<html>"),
            reply(body=b" " * 70_000),
        ],
        ids=["broken", "500", "redirect", "malformed", "html", "huge"],
    )
    async def test_no_keys_at_the_start_is_503_until_the_endpoint_recovers(
        self, project: Project, answer: bytes
    ) -> None:
        project.upstream.always(answer)
        with pytest.raises(KeysNotLoaded) as outage:
            await project.verify(project.token())
        assert outage.value.status == 503
        assert outage.value.headers["Retry-After"] == str(int(RETRY_S))
        for n in range(20):
            with pytest.raises(KeysNotLoaded):
                await project.verify(project.token(jti=f"t-{n}"))
        assert len(project.upstream.requests) == 1
        project.publish(jwk(ELLIPTIC, "first"))
        project.clock.advance(RETRY_S)
        assert (await project.verify(project.token())).id == str(USER)
        assert project.fetches == ["failed", "fetched"]

    async def test_an_outage_does_not_touch_our_own_tokens(self, project: Project) -> None:
        project.upstream.always(b"")
        with pytest.raises(KeysNotLoaded):
            await project.verify(project.token())
        assert project.tokens.verify(project.tokens.issue("u").token).id == "u"

    async def test_an_error_that_nobody_expected_is_an_outage_too(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken() -> bytes:
            raise RuntimeError("a bug")

        monkeypatch.setattr(project.supabase._keys, "_fetch", broken)
        with pytest.raises(KeysNotLoaded):
            await project.verify(project.token())
        assert project.fetches == ["failed"]

    async def test_after_the_end_nothing_is_fetched(self, project: Project) -> None:
        await project.supabase.aclose()
        with pytest.raises(KeysNotLoaded):
            await project.verify(project.token())
        assert (project.fetches, project.upstream.requests) == ([], [])

    async def test_the_end_cancels_a_fetch_that_hangs(self, project: Project) -> None:
        project.upstream.always(None)
        waiting = asyncio.create_task(project.verify(project.token()))
        await asyncio.sleep(0)
        await project.supabase.aclose()
        with pytest.raises(KeysNotLoaded):
            await waiting
