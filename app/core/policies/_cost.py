"""What a request takes of a limit, a quota or an account, when a function says it."""

from app.core.errors import ConfigurationError, Unprocessable
from app.core.policies._rate_limit import Cost, CostRequest


def cost_of(
    cost: Cost, request: CostRequest, what: str, most: int | None = None, *, shadow: bool = False
) -> int:
    """The number itself, or what the function returns. Raises Unprocessable (422) when it raises ValueError or asks for more than ``most``,
    ConfigurationError for nonsense; ``what`` names it there. In ``shadow`` nobody is refused: then it is 0, or ``most``.
    """
    if isinstance(cost, int):
        return cost
    try:
        value = cost(request)
    except ValueError as error:
        if shadow:
            return 0
        raise Unprocessable("What this request takes cannot be computed from it.") from error
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(
            f"The cost function of {what} returned {value!r}; it must return an int >= 0"
        )
    if most is not None and value > most:
        if shadow:
            return most
        raise Unprocessable(f"This request takes more than the {most:,} that one may.")
    return value
