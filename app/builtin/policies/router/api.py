"""``/policies``: what is in force, and switches for operators."""

from typing import Annotated, Any

from fastapi import Depends, Path

from app.builtin.policies.models import MAX_NAME
from app.builtin.policies.schemas import (
    BreakerChange,
    BreakerOut,
    BreakersOut,
    Published,
    RoutePolicies,
    SwitchChange,
)
from app.builtin.policies.service import SWITCH, SwitchBoard, routes_as_they_are, switch_shown
from app.core import (
    APIRouter,
    CurrentPrincipal,
    JobConfig,
    Security,
    api_worker,
    enforce_all_policies,
    provided,
)
from app.core.http import CurrentPlatform
from app.core.policies import Switch, Switches
from app.core.security import register_scope

register_scope("read:policies", "See the policy of every route", roles=("admin",))
register_scope("write:policies", "Switch endpoints off and set breakers by hand", roles=("admin",))

# An operator who looks, or pulls a switch, must get through while everything else is shed.
READ = JobConfig(security=Security(scopes=("read:policies",), roles=("admin",)), priority="critical")
WRITE = JobConfig(
    security=Security(scopes=("write:policies",), roles=("admin",)), priority="critical", max_body=65_536
)

router = APIRouter(prefix="/policies", tags=["policies"])


Known = Annotated[Switches, Depends(provided(Switches))]
Board = Annotated[SwitchBoard, Depends(provided(SwitchBoard))]
Name = Annotated[str, Path(max_length=MAX_NAME, pattern=r"^[^\x00]*$")]


@router.get("", dependencies=[enforce_all_policies("policies_list", READ)])
@api_worker(READ)
async def list_policies(platform: CurrentPlatform, switches: Known) -> RoutePolicies:
    """Every route with the policy in force, what was overridden and by what, and what is switched off."""
    return RoutePolicies(items=routes_as_they_are(platform, switches))


@router.get("/breakers", dependencies=[enforce_all_policies("policies_breakers", READ)])
@api_worker(READ)
async def list_breakers(platform: CurrentPlatform, switches: Known) -> BreakersOut:
    """The circuit breakers of the process that answers."""
    return BreakersOut(
        items=[
            BreakerOut(
                dependency=it.dependency, state=it.state, mode=it.mode, calls=it.calls, failures=it.failures, slow=it.slow,
                retry_after_s=it.retry_after_s, switch=switch_shown(switches.of_breaker(it.dependency)),
            )
            for it in platform.breakers.states()
        ]
    )  # fmt: skip


@router.put(
    "/{name}/switch",
    responses={
        404: {"description": "No route and no work has a policy of this name"},
        409: {"description": "This policy cannot be switched off"},
    },
    dependencies=[enforce_all_policies(SWITCH, WRITE)],
)
@api_worker(WRITE)
async def switch_policy(
    name: Name, change: SwitchChange, platform: CurrentPlatform, board: Board, caller: CurrentPrincipal
) -> Published:
    """Switch all routes of a policy, or the work under it, off, or on again, in every process within a second."""
    switch, published = await board.set_policy(
        platform.routes,
        name,
        enabled=change.enabled,
        reason=change.reason,
        by=caller.id,
        work=platform.work,
    )
    return Published(**_fields(switch), published=published)


@router.put(
    "/breakers/{dependency}",
    responses={404: {"description": "No policy names this dependency"}},
    dependencies=[enforce_all_policies("policies_breaker", WRITE)],
)
@api_worker(WRITE)
async def set_breaker(
    dependency: Name, change: BreakerChange, platform: CurrentPlatform, board: Board, caller: CurrentPrincipal
) -> Published:
    """Set a dependency's circuit breaker by hand, in every process within a second."""
    known = {state.dependency for state in platform.breakers.states()}
    switch, published = await board.set_breaker(known, dependency, change.state, change.reason, caller.id)
    return Published(**_fields(switch), published=published)


def _fields(switch: Switch) -> dict[str, Any]:
    return {"state": switch.state, "reason": switch.reason, "by": switch.by, "at": switch.at}
