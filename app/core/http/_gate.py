"""The gate as it is declared: ``dependencies=[enforce_all_policies("name", config)]`` on a route, a router or an include."""

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi import Depends

from app.core.context import Principal
from app.core.errors import ConfigurationError
from app.core.policies import Admission, JobConfig, is_policy_name

if TYPE_CHECKING:
    from app.core.http._bound import BoundGate
    from app.core.http._claims import Claims
    from app.core.http._state import RequestState


class Ticket(NamedTuple):
    """What the gate found out about this request: the handler's proof that it was admitted.

    ``config`` is the effective one, with the overrides of this application. ``deadline`` is a reading of ``time.monotonic()``; None means
    that the handler may take as long as it likes. ``claims`` is what was taken and must be settled, None when that is nothing.
    """

    name: str
    config: JobConfig
    principal: Principal | None
    admission: Admission | None
    gate: "BoundGate"
    deadline: float | None
    claims: "Claims | None" = None
    state: "RequestState | None" = None


_ticket: ContextVar[Ticket | None] = ContextVar("gatehouse_ticket", default=None)
current_ticket = _ticket.get
set_ticket = _ticket.set
reset_ticket = _ticket.reset


class Gate:
    """A name and the policy that goes by it. As a dependency it only hands out the ticket: the work was done by the route, before
    FastAPI read the body (docs/adr/0003).
    """

    __slots__ = ("config", "name")

    def __init__(self, name: str, config: JobConfig) -> None:
        self.name = name
        self.config = config

    async def __call__(self) -> Ticket:
        ticket = _ticket.get()
        if ticket is None:
            raise ConfigurationError(
                f"The gate {self.name} did not run: this route is no GatedRoute; use APIRouter of app.core"
            )
        return ticket

    def __repr__(self) -> str:
        return f"Gate({self.name!r})"


def enforce_all_policies(name: str, config: JobConfig) -> Any:
    """Gate a route, a router or an include with ``config`` under a name that is unique in the application.

    One gate may serve many routes: they then share its limits. Returns a FastAPI dependency. Raises ValueError for a malformed name;
    everything else is checked by the boot audit, when all routes are known.
    """
    if not is_policy_name(name):
        raise ValueError(
            f"A policy's name must match [a-z][a-z0-9_]* and be at most 63 characters, not {name!r}"
        )
    return Depends(Gate(name, config))
