"""What a request takes of a limit, a quota or an account, when a function says it."""

from app.core.errors import ConfigurationError, Unprocessable
from app.core.policies._rate_limit import Cost, CostRequest

_NO_COST = "What this request takes cannot be computed from it."


def cost_of(
    cost: Cost, request: CostRequest, what: str, most: int | None = None, *, shadow: bool = False
) -> int:
    """The number itself, or what the function returns. Raises Unprocessable (422) when it raises ValueError, KeyError or IndexError (a
    parameter is missing), returns a negative number or asks for more than ``most``; ConfigurationError for what is no number, where
    ``what`` names it. In ``shadow`` nobody is refused: then it is 0, or ``most``.
    """
    if isinstance(cost, int):
        return cost
    try:
        value = cost(request)
    except (ValueError, LookupError) as error:
        if shadow:
            return 0
        raise Unprocessable(_NO_COST) from error
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"The cost function of {what} returned {value!r}; it must return an int")
    if value < 0 and not shadow:
        raise Unprocessable(_NO_COST)  # out of what the caller sent: not the program's fault
    if most is not None and value > most:
        if shadow:
            return most
        raise Unprocessable(f"This request takes more than the {most:,} that one may.")
    return max(value, 0)
