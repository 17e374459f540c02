"""Tokens that stand in the links of e-mails: issued, found, and used once."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from app.builtin.accounts.models import EmailToken, User, email_key
from app.builtin.accounts.repository import EmailTokenRepository
from app.builtin.accounts.service.opaque_tokens import hash_of, new_token
from app.core.db import AsyncSession
from app.core.errors import BadRequest
from app.core.resilience import Clock

Purpose = Literal["reset_password", "verify_email", "change_email", "register"]
_PREFIX = "et_"


class BadEmailToken(BadRequest):
    """A link that nothing can be done with: its token is unknown, used, too old, replaced by a newer one, or for something else. Which of
    these is not told.
    """

    def __init__(self) -> None:
        super().__init__(
            "This link is not valid, or not any more; ask for a new one.",
            extensions={"error": "invalid_email_token"},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLives:
    """Seconds that tokens live: ``reset_s`` those that set a password, ``verify_s`` those that prove an address."""

    reset_s: int = 1800
    verify_s: int = 86_400


class EmailTokens:
    """Tokens in the caller's database session, who commits. 256 random bits; the database has their SHA-256.

    A newer token of the same purpose takes the older one's place. To use one: ``find`` it, lock its user, ``take`` it; in this order,
    because whoever issues one locks in this order too.
    """

    def __init__(self, lives: TokenLives, clock: Clock) -> None:
        self._lives = lives
        self._clock = clock

    async def issue(self, db: AsyncSession, purpose: Purpose, email: str, user: User | None) -> str:
        """A token to be sent to ``email`` and to nobody else; ``user`` is locked, and None when there is none yet."""
        token, now = new_token(_PREFIX), self.now()
        life_s = self._lives.reset_s if purpose == "reset_password" else self._lives.verify_s
        await EmailTokenRepository(db).put(
            purpose,
            str(user.id) if user is not None else email_key(email),
            user_id=user.id if user is not None else None,
            email=email,
            token_hash=hash_of(token),
            created_at=now,
            expires_at=now + timedelta(seconds=life_s),
        )
        return token

    async def find(self, db: AsyncSession, token: str, *purposes: Purpose) -> EmailToken:
        """What the token is for, one of these purposes. Raises ``BadEmailToken``."""
        found = await EmailTokenRepository(db).find(hash_of(token), self.now())
        if found is None or found.purpose not in purposes:
            raise BadEmailToken
        return found

    async def take(self, db: AsyncSession, token: str) -> None:
        """Use it up; of several callers at once one may. Raises ``BadEmailToken``."""
        if not await EmailTokenRepository(db).take(hash_of(token), self.now()):
            raise BadEmailToken

    async def forget(self, db: AsyncSession, user: User) -> None:
        """No link that the user was sent so far is good any more."""
        await EmailTokenRepository(db).forget(user.id)

    def now(self) -> datetime:
        """The time by which tokens are judged."""
        return datetime.fromtimestamp(self._clock.time(), UTC)
