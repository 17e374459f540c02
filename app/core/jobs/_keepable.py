"""What people may say, as the database can keep it: a text without NUL, and a pause that ends."""

LONGEST_PAUSE_S = 366 * 86_400.0
"""As long as a job may be delayed."""


def keepable_text(words: object, most: int) -> str:
    """At most so many characters, without those that PostgreSQL refuses: NUL, and half a surrogate pair."""
    text = str(words)[:most].encode("utf-8", "replace").decode()
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def keepable_pause(seconds: float) -> float:
    """0 to 366 days; 0 for what is no number."""
    return min(seconds, LONGEST_PAUSE_S) if seconds > 0 else 0.0
