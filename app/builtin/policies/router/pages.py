"""``/ui/policies``: what is in force, for people."""

from starlette.requests import Request
from starlette.responses import Response

from app.builtin.policies.router.api import READ, Known
from app.builtin.policies.service import grouped, routes_as_they_are
from app.core import PageRouter, Pages, api_worker, enforce_all_policies, in_menu
from app.core.http import CurrentPlatform

router = PageRouter(prefix="/ui")
pages = Pages("app.builtin.policies")


@router.get("/policies", dependencies=[enforce_all_policies("ui_policies", READ)])
@api_worker(READ)
@in_menu("Policies", "what guards every path of the service, what was changed, and what is switched off")
async def policies_page(request: Request, platform: CurrentPlatform, switches: Known) -> Response:
    """Every path with the policies in force, in words."""
    routes = routes_as_they_are(platform, switches)
    return pages.answer(request, "policies.html", groups=grouped(routes), count=len(routes))
