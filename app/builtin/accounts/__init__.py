"""Users, and how they prove who they are: password sign-in, access tokens, the caller's own profile.

What code of one's own calls is here; the rest is in ``service``.
"""

from app.builtin.accounts.service import (
    check_password,
    create_access_token,
    get_password_hash,
    script_functions,
    verify_password,
)

__all__ = [
    "check_password",
    "create_access_token",
    "get_password_hash",
    "script_functions",
    "verify_password",
]
