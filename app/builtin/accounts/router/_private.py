"""Answers that hold a secret: nobody on the way may keep them."""

from fastapi import Response


def keep_private(response: Response) -> None:
    """Neither browsers nor proxies keep this answer (RFC 6749 section 5.1 has both fields)."""
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
