"""What an API key may do: the most it was given, of what its owner has now."""

from collections.abc import Iterable


def key_rights(given: Iterable[str], held: Iterable[str]) -> frozenset[str]:
    """Those of the rights that a key was ``given`` which its owner holds."""
    return frozenset(given) & frozenset(held)
