"""``require_credits(amount)``: what a handler costs, held before it runs and debited with what it wrote."""

from fastapi import Request

from app.core.errors import ConfigurationError, GatehouseError, NotAuthenticated
from app.core.http._block import Block, Here, here, name_of
from app.core.policies import Credits, JobConfig, Permit

_OUTCOMES = {402: "no_credit", 429: "held"}


class CreditsBlock(Block[Permit]):
    """Credits around handlers. Raises NotAuthenticated (401) for an anonymous caller, InsufficientCredits (402), CreditsHeld (429),
    CreditsUnavailable (503).
    """

    def __init__(self, amount: int, name: str | None = None) -> None:
        super().__init__(name)
        self._config = JobConfig(rate_limit=None, credits=Credits(cost=amount))

    async def enter(self, name: str) -> Permit:
        """Hold the amount."""
        return await self._hold(name, here())

    async def succeed(self, taken: Permit, status: int) -> None:
        """Debit it: in the request's transaction, or in one of its own where there is no request. An answer of 400 or above is free."""
        place = here()
        if status >= 400:
            await taken.give_back()
        elif not taken.owes:
            await taken.settle()
        elif place.state is not None and place.state.sessions is not None:
            sessions = place.state.sessions
            try:
                await taken.pay(sessions.first())
            except BaseException:
                await taken.give_back()
                raise
            sessions.at_end(taken.ended)
        else:
            await place.engine.pay(taken)

    async def fail(self, taken: Permit) -> None:
        """The handler did not finish: its caller pays nothing."""
        await taken.give_back()

    async def dependency(self, request: Request) -> None:
        """The same as a dependency: ``Depends(require_credits(amount=2).dependency)``, after one that finds the principal.

        The debit joins the request's transaction just before its commit. It does not see the answer: one of 400 or above that is
        returned, not raised, is charged.
        """
        place = here()
        if place.state is None or place.state.sessions is None:
            raise ConfigurationError(
                "require_credits needs a gated route, which commits: use app.core.APIRouter"
            )
        sessions = place.state.sessions
        permit = await self._hold(self._name or name_of(request.scope["route"].endpoint), place)
        sessions.at_end(permit.ended)
        if permit.owes:
            sessions.before_commit(lambda: permit.pay(sessions.first()))

    async def _hold(self, name: str, place: Here) -> Permit:
        if place.caller.principal is None:
            raise NotAuthenticated("Credits belong to an account: this needs a bearer token.")
        try:
            return await place.engine.post(name, self._config).enter(place.caller)
        except GatehouseError as refusal:
            if place.state is not None:
                place.state.outcome = _OUTCOMES.get(refusal.status, "unavailable")
            raise


def require_credits(amount: int, *, name: str | None = None) -> CreditsBlock:
    """Let a handler cost ``amount`` whole credits of its caller's account, as a decorator or a dependency.

    The amount is held first, so that callers at the same time cannot spend it twice, and debited in the request's own transaction: a
    request that fails, or whose commit does, is free. The hold lasts 40 seconds; of a handler that takes longer the debit is written all
    the same, but other requests may have spent what it held. Not beside ``JobConfig.credits`` on one endpoint: both would charge.
    """
    return CreditsBlock(amount, name)
