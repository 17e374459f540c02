"""Under which name, and in which session, the request in hand is charged: its own, or that of a job which it submitted."""

from typing import NamedTuple

from app.core.db import AsyncSession, SessionScope, when_undone


class NamedCharge(NamedTuple):
    """A charge that was given a name. ``key`` None: what was asked for was there already, so there is nothing to pay for."""

    key: str | None
    session: AsyncSession


class ChargeName:
    """The name of one request's charge. It keeps the first that it is given, for as long as that is not rolled back."""

    __slots__ = ("_given", "_sessions")

    def __init__(self, sessions: SessionScope) -> None:
        self._sessions = sessions
        self._given: NamedCharge | None = None

    @property
    def is_free(self) -> bool:
        """Whether nothing was begun that is to be paid for."""
        return self._given is not None and self._given.key is None

    @property
    def named(self) -> NamedCharge | None:
        """The name, and the session whose transaction the debit belongs to; None: it has no name but its own."""
        return None if self.is_free else self._given

    def may_be_given_in(self, session: AsyncSession) -> bool:
        """Whether there is none yet, and the request commits this session."""
        return self.named is None and self._sessions.commits(session)

    def give(self, key: str | None, session: AsyncSession) -> None:
        """Take this one, until the session rolls it back."""
        former, self._given = self._given, NamedCharge(key, session)
        given = self._given

        def take_back() -> None:
            if self._given is given:
                self._given = former

        when_undone(session, take_back)
