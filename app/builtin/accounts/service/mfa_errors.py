"""Why a second factor is not enough.

GatehouseError
├── NotAuthenticated
│   ├── MfaRequired   401  the password was right, the second factor is missing
│   ├── BadMfaToken   401  no sign-in waits under this token
│   └── BadProof      401  a wrong code or password
└── PolicyRejected
    └── TooManyCodes  429  too many wrong codes, wait
"""

from app.core.errors import NotAuthenticated, PolicyRejected


class MfaRequired(NotAuthenticated):
    """The password was right, and the user has a second factor: show it with ``mfa_token``, within ``expires_in`` seconds.

    ``device``: what the browser keeps to be known next time, once its password was right; no member of the answer's body.
    """

    device: str | None = None

    def __init__(self, mfa_token: str, expires_in: int) -> None:
        super().__init__("The password is right; now show the second factor at /auth/mfa/token.")
        self.extensions |= {"error": "mfa_required", "mfa_token": mfa_token, "expires_in": expires_in}


class BadMfaToken(NotAuthenticated):
    """No sign-in waits under this token: it is unknown, used, too old, had too many wrong codes, or its user has changed since. Which of
    these is not told.
    """

    def __init__(self) -> None:
        super().__init__("This sign-in cannot be continued; begin again with the password.")
        self.extensions["error"] = "invalid_grant"


class BadProof(NotAuthenticated):
    """The code is wrong or was used already, or the password is wrong."""

    def __init__(self, detail: str = "This code is wrong, or was used already.") -> None:
        super().__init__(detail)
        self.extensions["error"] = "invalid_grant"


class TooManyCodes(PolicyRejected):
    """Too many wrong codes of one user, over all of his sign-ins. A recovery code is still looked at."""

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"Too many wrong codes. Try again in {seconds} s, or use a recovery code.",
            violated=("mfa_codes",),
            retry_after=seconds,
        )
