"""What became of mails, as a metric of the whole process: whoever posts them has no application at hand."""

from prometheus_client import Counter

_mails = Counter(
    "gatehouse_mails_total",
    "E-mails: sent, failed (given up after retries or at the stop), refused (too many waited), unneeded (there was nobody to write to)",
    ["outcome"],
)


def count_mail(outcome: str) -> None:
    """Count one into ``gatehouse_mails_total``; ``outcome`` is a word from the code."""
    _mails.labels(outcome).inc()
