"""How long sessions and their refresh tokens last."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.builtin.accounts.models import AuthSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long, in seconds, and how often.

    ``life_s``: a session ends so long after its sign-in, whatever happens; ``idle_s``: so long after its last use. ``grace_s``: a refresh
    token that was just exchanged answers with the same successor for so long, for a client whose answer was lost.
    ``refreshes_per_minute``: of one session.

    Access tokens issued shortly before a session's time is over live on until their own end.
    """

    life_s: int = 2_592_000
    idle_s: int = 604_800
    grace_s: int = 20
    refreshes_per_minute: int = 10

    def end_of(self, start: datetime) -> datetime:
        """When a session that starts now is over at the latest."""
        return start + timedelta(seconds=self.life_s)

    def is_over(self, session: AuthSession, now: datetime) -> bool:
        """Whether it was ended, or its time has run out."""
        return session.ended_at is not None or self.seconds_left(session, now) <= 0

    def seconds_left(self, session: AuthSession, now: datetime) -> int:
        """For so long the session can be refreshed if nobody uses it meanwhile; 0 or less: its time is over."""
        idle = session.used_at + timedelta(seconds=self.idle_s)
        return int((min(session.expires_at, idle) - now).total_seconds())

    def idle_since(self, now: datetime) -> datetime:
        """Sessions that were last used before this are over."""
        return now - timedelta(seconds=self.idle_s)

    def may_repeat(self, used_at: datetime, now: datetime) -> bool:
        """Whether a token that was exchanged then may still answer with what it was exchanged for."""
        return now - used_at <= timedelta(seconds=self.grace_s)
