"""Parts of keys that callers can influence, made harmless."""

import re
from functools import lru_cache
from hashlib import blake2b

_PLAIN = re.compile(r"[A-Za-z0-9._:/@-]{1,80}")


@lru_cache(maxsize=16_384)
def escape(part: str) -> str:
    """The part itself if it is plainly harmless, otherwise a hash of it; the two cannot be confused (``#`` is not plain).

    Valkey Cluster hashes what stands in the first braces of a key, so no text of a caller may bring braces of its own.
    """
    return (
        part
        if _PLAIN.fullmatch(part)
        else "#" + blake2b(part.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    )


def tag_key(tag: str) -> str:
    """Where a tag's version is kept: each tag in a slot of its own."""
    return f"{{tag:{escape(tag)}}}:v1:t"


def joined(parts: str | tuple[str | int, ...]) -> str:
    """A name out of its parts: ``("a:b", "c")`` and ``("a", "b:c")`` stay two names, as no harmless part holds a bar."""
    return escape(parts) if isinstance(parts, str) else "|".join(escape(str(part)) for part in parts)
