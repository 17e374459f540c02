"""The documents' own models, on tables of their own that exist only in these tests."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, MetaData, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA = "shop"


class Shop(DeclarativeBase):
    """Not the application's base: its migrations must not see these tables."""

    metadata = MetaData(schema=SCHEMA)


class Item(Shop):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class User(Shop):
    __tablename__ = "users"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    email: Mapped[str]
    is_active: Mapped[bool] = mapped_column(default=True)


class Campaign(Shop):
    __tablename__ = "campaigns"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("shop.users.id"))
    name: Mapped[str]
    emails: Mapped[list["Email"]] = relationship(lazy="raise")


class Email(Shop):
    __tablename__ = "emails"
    id: Mapped[int] = mapped_column(primary_key=True)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("shop.campaigns.id"))
    subject: Mapped[str] = mapped_column(default="Hello")
    sent_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
