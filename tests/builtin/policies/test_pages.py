"""``/ui/policies`` as people see it."""

import re
from uuid import UUID

import pytest

from app.builtin.policies.models import PolicySwitch
from app.builtin.policies.router import router as policies
from app.builtin.policies.service import provide_policies
from app.registry import Feature
from app.settings import Settings
from tests.builtin.pages.browser import assert_nothing_inline
from tests.builtin.policies.test_router import RIGHTS, some_router
from tests.gated import bearer, serving

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>{{ 7919*7927 }}"


async def test_the_page_tells_every_route_what_was_changed_and_what_is_off_and_escapes_all_of_it(
    settings: Settings,
) -> None:
    features = (
        Feature(name="policies", router=policies, provides=provide_policies, models=(PolicySwitch,)),
        Feature(
            name="some", router=some_router(), open_routes={"/by-hand": "guarded by hand", "/open": HOSTILE}
        ),
    )
    changed = settings.model_copy(update={"policy_variables": {"POLICIES__SOME__TIMEOUT": "7"}})
    async with serving(changed, *features) as service:
        body = {"enabled": False, "reason": HOSTILE}
        assert (
            await service.client.put("/policies/some/switch", json=body, headers=RIGHTS)
        ).status_code == 200
        page = await service.client.get("/ui/policies", headers=RIGHTS)
        assert (
            await service.client.get("/ui/policies", headers=bearer(UUID(int=1), roles=("admin",)))
        ).status_code == 403
        paths = {route.path for route in service.platform.routes}
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    text = page.text
    assert set(re.findall(r"<code>(/[^<]*)</code></caption>", text)) == paths
    assert "timeout is 7, in the code 30" in text
    assert "POLICIES__SOME__TIMEOUT" in text
    assert "Switched off" in text
    assert "5 in 5 seconds per user, 5 at once" in text
    assert text.count("&lt;script&gt;alert(1)") == 2
    assert str(7919 * 7927) not in text
    assert_nothing_inline(text)
