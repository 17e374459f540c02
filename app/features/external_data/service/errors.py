"""What the other service's failures become. Its own words are never passed on.

UpstreamNotConfigured  503  nobody said where it is
UpstreamRejected       502  it does not take the question, or may not be asked: asking again does not help
FailedUpstream              base of what may pass
├── UpstreamFailed     502  it cannot be reached, or answers what makes no sense
├── UpstreamBusy       503  it says that it is busy, and perhaps for how long
└── UpstreamTimeout    504  it takes too long
"""

from app.core.errors import GatehouseError, Unavailable


class UpstreamNotConfigured(Unavailable):
    """EXTERNAL_DATA__URL is not set."""

    def __init__(self) -> None:
        super().__init__("The source of external data is not configured.", retry_after=60)


class UpstreamRejected(GatehouseError):
    """Our side of the conversation is wrong: its answer was 4xx, or its address is not one that we may call."""

    status = 502
    title = "Bad Gateway"


class FailedUpstream(GatehouseError):
    """The other service is unwell."""


class UpstreamFailed(FailedUpstream):
    """It refused the connection, broke it, answered 5xx, or answered something that is not what was agreed."""

    status = 502
    title = "Bad Gateway"


class UpstreamBusy(FailedUpstream):
    """It answered 429 or 503. ``retry_after`` is in seconds, None when it did not say."""

    status = 503
    title = "Service Unavailable"

    def __init__(self, retry_after: int | None = None) -> None:
        super().__init__(
            "The source of external data is busy.", headers={"Retry-After": str(retry_after or 1)}
        )
        self.retry_after = retry_after


class UpstreamTimeout(FailedUpstream):
    """No answer in time."""

    status = 504
    title = "Gateway Timeout"


def is_failure(error: BaseException) -> bool:
    """Whether an error says that the other service is unwell: for its circuit breaker."""
    return not isinstance(error, (UpstreamRejected, UpstreamNotConfigured))
