"""What the endpoints of policies take and answer."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

MAX_REASON = 500  # as long as the column
Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_REASON, pattern=r"^[^\x00-\x1f]*$"),
    Field(description="Why, for other operators; callers do not see it"),
]
BreakerState = Literal["isolated", "closed", "auto"]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SwitchChange(_Input):
    """Switch an endpoint off, or on again."""

    enabled: StrictBool = Field(description="False: every request to the policy's routes is 503 from now on")
    reason: Reason


class BreakerChange(_Input):
    """Set a breaker by hand."""

    state: BreakerState = Field(
        description="isolated: refuse every call; closed: forget the failures and go on; auto: as the failures say"
    )
    reason: Reason


class SwitchOut(BaseModel):
    """What somebody has set by hand."""

    state: str = Field(
        description="off for a policy, isolated or closed for a breaker; on or auto when all is normal"
    )
    reason: str
    by: str = Field(description="The operator's id")
    at: str = Field(description="When, RFC 3339")


class Published(SwitchOut):
    """A switch, and whether the other processes know it already."""

    published: bool = Field(
        description="False: Valkey did not take it; the others follow within 10 s of its return"
    )


class OverrideOut(BaseModel):
    """One option that is not as the code says."""

    option: str = Field(description="Its path, such as rate_limit.user.quota")
    default: Any = Field(description="What the code says")
    effective: Any = Field(description="What holds; null: switched off")
    source: str = Field(description="The variable, or the file and the key")


class RoutePolicy(BaseModel):
    """One route: what guards it."""

    path: str
    methods: list[str]
    kind: Literal["gated", "open", "custom"] = Field(
        description="custom: guarded by hand and not by a gate; open: by nobody, for a reason"
    )
    name: str | None = Field(description="The policy's name")
    reason: str | None = Field(description="Why the route has no gate")
    config: dict[str, Any] | None = Field(description="The policy in force, every option by its name")
    overridden: list[OverrideOut]
    switch: SwitchOut | None = Field(default=None, description="Set when the policy is switched off")


class RoutePolicies(BaseModel):
    """Every route of the service, by path. Not paged: their number is the code's."""

    items: list[RoutePolicy]


class BreakerOut(BaseModel):
    """A breaker as this process sees it."""

    dependency: str
    state: str
    mode: str
    calls: int = Field(description="In the window")
    failures: int
    slow: int
    retry_after_s: float = Field(description="Seconds until a call may be tried")
    switch: SwitchOut | None = Field(description="Set when somebody set it by hand")


class BreakersOut(BaseModel):
    """The breakers of the process that answered; others may stand otherwise unless they are set by hand."""

    items: list[BreakerOut]
