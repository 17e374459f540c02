"""The table of what operators have set by hand."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, String, func
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base

MAX_NAME, MAX_REASON, MAX_BY = 80, 500, 200


class PolicySwitch(Base):
    """One policy or breaker that somebody has set, and how it stands now. Rows stay when things are normal again.

    ``version`` grows with every change of any row, so the highest one is the version of the whole table.
    """

    __tablename__ = "policy_switches"
    __table_args__ = (
        CheckConstraint("state IN ('on', 'off', 'auto', 'isolated', 'closed')", name="state_is_known"),
    )

    name: Mapped[str] = mapped_column(String(MAX_NAME), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(MAX_REASON))
    by: Mapped[str] = mapped_column(String(MAX_BY))
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    version: Mapped[int] = mapped_column(BigInteger)
