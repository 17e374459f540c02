"""Where a limit is stored: one bucket per caller, in the caller's slot, whatever callers call themselves."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.core.context import Principal
from app.core.policies import Caller, Plan, RateLimit
from tests.cases import each_case

NETWORK = "192.0.2.1"
SLOT = re.compile(r"\{([^{}]+)\}:v1:l:[^{}]*")


def key(caller: Caller, scope: Any, *, policy: str = "items", shared: str | None = None) -> str:
    limit = RateLimit.fixed_window("one", limit=5, window=60, scope=scope, shared=shared)
    (made,) = Plan(policy, [limit]).keys(caller)
    return made


def named(name: str, **more: Any) -> Caller:
    return Caller(Principal(name, **more), NETWORK)


class TestScopes:
    @each_case(
        ("scope", "caller", "expected"),
        [
            ("user", named("ann"), "{u:ann}:v1:l:items.one"),
            ("user", Caller(None, NETWORK), "{ip:192.0.2.1}:v1:l:items.one"),
            ("ip", named("ann"), "{ip:192.0.2.1}:v1:l:items.one"),
            ("api_key", named("ann", api_key_id="k1"), "{u:ann}:v1:l:items.one|k:k1"),
            ("api_key", named("ann"), "{u:ann}:v1:l:items.one|u:ann"),
            ("tenant", named("ann", tenant_id="t1"), "{t:t1}:v1:l:items.one"),
            ("tenant", named("ann"), "{u:ann}:v1:l:items.one"),
            ("route", named("ann"), "{b:items.one}:v1:l:items.one"),
            ("global", named("ann"), "{b:*.one}:v1:l:*.one"),
            (("user", "ip"), named("ann"), "{u:ann}:v1:l:items.one|ip:192.0.2.1"),
            (("ip", "user"), named("ann"), "{u:ann}:v1:l:items.one|ip:192.0.2.1"),
        ],
    )
    def test_each_has_its_key(self, scope: Any, caller: Caller, expected: str) -> None:
        assert key(caller, scope) == expected

    def test_users_endpoints_and_names_do_not_share_by_accident(self) -> None:
        keys = {
            key(named("ann"), "user"),
            key(named("bob"), "user"),
            key(named("ann"), "user", policy="others"),
            key(named("ann"), "ip"),
            key(named("ann"), "user", shared="items"),
        }
        assert len(keys) == 5

    def test_a_shared_bucket_is_one_for_all_endpoints(self) -> None:
        keys = {key(named("ann"), "user", policy=policy, shared="pool") for policy in ("a", "b")}
        assert keys == {"{u:ann}:v1:l:=pool"}

    def test_a_shared_bucket_per_route_is_one_for_each(self) -> None:
        keys = {key(named("ann"), ("user", "route"), policy=policy, shared="pool") for policy in ("a", "b")}
        assert len(keys) == 2

    def test_a_global_bucket_is_one_for_all_endpoints(self) -> None:
        assert len({key(named("ann"), "global", policy=policy) for policy in ("a", "b")}) == 1


class TestCraftedNames:
    @each_case("name", ["}x{evil}", "{}", "a}:v1:l:items.one|u:b", "#0123", "", "a b", "ä", "x" * 81])
    def test_a_name_that_is_not_plain_is_hashed(self, name: str) -> None:
        made = key(named(name), "user")
        assert re.fullmatch(r"\{u:#[0-9a-f]{32}\}:v1:l:items\.one", made)

    @given(name=st.text(max_size=100), network=st.text(max_size=50))
    def test_the_slot_is_always_ours_to_choose(self, name: str, network: str) -> None:
        for scope in ("user", "ip", "api_key", "tenant", ("user", "ip"), "route"):
            caller = Caller(Principal(name, tenant_id=name, api_key_id=name), network)
            match = SLOT.fullmatch(key(caller, scope))
            assert match is not None
            assert match[1].partition(":")[0] in {"u", "ip", "t", "b"}

    @given(st.lists(st.text(max_size=100), min_size=2, max_size=2, unique=True))
    def test_two_names_never_share_a_bucket(self, names: list[str]) -> None:
        assert key(named(names[0]), "user") != key(named(names[1]), "user")

    def test_a_lone_surrogate_is_a_name_like_any_other(self) -> None:
        assert SLOT.fullmatch(key(named("\ud800"), "user"))
