"""What accounts take and answer."""

from app.builtin.accounts.schemas._strict import MAX_PASSWORD
from app.builtin.accounts.schemas.keys import KeySetOut, PublicKey
from app.builtin.accounts.schemas.sessions import LogoutQuery, SessionOut, SessionPage, SessionQuery
from app.builtin.accounts.schemas.tokens import PasswordGrant, RefreshGrant, TokenAnswer
from app.builtin.accounts.schemas.users import Me

__all__ = [
    "MAX_PASSWORD",
    "KeySetOut",
    "LogoutQuery",
    "Me",
    "PasswordGrant",
    "PublicKey",
    "RefreshGrant",
    "SessionOut",
    "SessionPage",
    "SessionQuery",
    "TokenAnswer",
]
