"""Who is calling, in which request: frozen values carried by one context variable.

Set by the edge, refined by the gate, read by everything below (logs, database sessions, decorators). Tasks and threads started
inside a request inherit it.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    ``id`` is the user's id as text (for an API key: its owner's); ``session_id`` and ``token_id`` are the token's ``sid`` and ``jti``;
    ``issued_at``, ``authenticated_at`` and ``expires_at`` are seconds since the epoch; ``methods`` is the token's ``amr``.
    """

    id: str
    scopes: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    tenant_id: str | None = None
    api_key_id: str | None = None
    session_id: str | None = None
    token_id: str | None = None
    issued_at: float = 0.0
    expires_at: float = 0.0
    authenticated_at: float = 0.0
    methods: tuple[str, ...] = field(default=())
    rights: str = field(init=False, repr=False, compare=False)
    """Tenant, scopes and roles as one text: equal for callers of equal rights."""

    def __post_init__(self) -> None:
        # Once per token, not once per request: verified tokens are remembered with their principals.
        object.__setattr__(self, "rights", repr((self.tenant_id, sorted(self.scopes), sorted(self.roles))))


class RequestContext(NamedTuple):
    """What is known of the work in hand; every part may be absent (a job has no client address, a probe no principal).

    A named tuple, because two are made per request and a frozen dataclass costs five times as much.
    ``policy`` is the name of the policy that gates the endpoint, ``route`` its path template, ``deadline`` a reading of the monotonic
    clock in seconds, ``job_id`` the job that runs.
    """

    request_id: str | None = None
    client_ip: str | None = None
    policy: str | None = None
    principal: Principal | None = None
    tenant_id: str | None = None
    user_id: str | None = None
    deadline: float | None = None
    traceparent: str | None = None
    route: str | None = None
    job_id: str | None = None


_EMPTY = RequestContext()
_context: ContextVar[RequestContext] = ContextVar("gatehouse_context", default=_EMPTY)

current_context = _context.get
set_context = _context.set
reset_context = _context.reset
