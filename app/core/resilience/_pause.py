"""How long to wait after so many failures in a row."""

_MOST_DOUBLINGS = 64


def doubled_pause(first_s: float, failures: int, longest_s: float) -> float:
    """``first_s`` seconds, doubled for each of ``failures`` (0: not yet), and ``longest_s`` at most, after however many. Without jitter:
    where many wait at once, the caller spreads them.
    """
    return min(first_s * 2.0 ** min(failures, _MOST_DOUBLINGS), longest_s)
