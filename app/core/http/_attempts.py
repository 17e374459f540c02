"""What a refused attempt costs, and whom: its caller, or the network of one who has not proved who he is."""

from app.core.errors import GatehouseError, Unavailable
from app.core.http._client_address import client_network
from app.core.http._denials import Denials
from app.core.http._gate_kit import GateKit
from app.core.http._state import RequestState
from app.core.observability import PolicyEvent
from app.core.policies import VERDICT_WORDS, Admission, Caller, Plan


class Attempts:
    """One gate's: charges refusals that come before ADMIT was asked, or they could be repeated for nothing, and reports them."""

    __slots__ = ("_admitter", "_denied", "_forbidden_plan", "_hub", "_name", "_nameless_plan")

    def __init__(self, name: str, plan: Plan, kit: GateKit) -> None:
        self._name = name
        self._hub = kit.hub
        self._admitter = kit.admitter
        self._denied = Denials(kit.clock)
        self._forbidden_plan = plan.only(lambda limit: limit.charge == "attempt")
        nameless = [
            limit
            for limit in self._forbidden_plan.limits
            if not {"user", "api_key", "tenant"} & set(limit.scopes)
        ]
        self._nameless_plan = Plan(name, [kit.failed_auth, *nameless])

    def is_denied(self, state: RequestState) -> bool:
        """Whether the client's network has used up its failures, as far as this process knows."""
        return self._denied.wait_s(client_network(state.client_ip)) > 0

    async def charge_network(self, state: RequestState, refusal: GatehouseError) -> None:
        """Of one who is not known. Raises 429 when the network's failures are used up; an outage is charged to nobody."""
        if isinstance(refusal, Unavailable):  # an outage is nobody's attempt
            self.report("unavailable", refusal, state)
            return
        network = client_network(state.client_ip)
        wait = self._denied.wait_s(network)
        if wait <= 0:
            admission = await self._admitter.admit(self._nameless_plan, Caller(None, network))
            if admission.allowed:
                self.report("unauthenticated", refusal, state)
                return
            self._denied.add(network, admission)
        else:
            known = (0, 0, 0, int(wait * 1e6))
            admission = Admission(self._nameless_plan, allowed=False, cause=1, numbers=known, degraded=False)
        self.report("limited", refusal, state)
        raise admission.refusal() from refusal

    async def charged(
        self, refusal: GatehouseError, verdict: str, caller: Caller, state: RequestState
    ) -> GatehouseError:
        """The refusal, to be raised: charged to the caller's attempts and reported. Raises 429 in its place when these are used up."""
        if self._forbidden_plan.limits:
            admission = await self._admitter.admit(self._forbidden_plan, caller)
            if not admission.allowed:
                self.report(VERDICT_WORDS[admission.verdict], refusal, state)
                raise admission.refusal() from refusal
        self.report(verdict, refusal, state)
        return refusal

    def report(self, verdict: str, refusal: GatehouseError, state: RequestState) -> None:
        """Tell whoever listens; charges nothing."""
        state.outcome = verdict
        principal_id = state.principal.id if state.principal else None
        self._hub.emit(
            PolicyEvent(
                self._name,
                verdict,
                type(refusal).__name__,
                request_id=state.request_id,
                principal_id=principal_id,
            )
        )
