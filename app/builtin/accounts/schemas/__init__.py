"""What accounts take and answer."""

from app.builtin.accounts.schemas._strict import MAX_PASSWORD
from app.builtin.accounts.schemas.api_keys import (
    ApiKeyCreated,
    ApiKeyOut,
    ApiKeyPage,
    ApiKeyQuery,
    ApiKeyRequest,
    ApiKeyRotation,
)
from app.builtin.accounts.schemas.sessions import LogoutQuery, SessionOut, SessionPage, SessionQuery
from app.builtin.accounts.schemas.tokens import PasswordGrant, RefreshGrant, TokenAnswer
from app.builtin.accounts.schemas.users import Me

__all__ = [
    "MAX_PASSWORD",
    "ApiKeyCreated",
    "ApiKeyOut",
    "ApiKeyPage",
    "ApiKeyQuery",
    "ApiKeyRequest",
    "ApiKeyRotation",
    "LogoutQuery",
    "Me",
    "PasswordGrant",
    "RefreshGrant",
    "SessionOut",
    "SessionPage",
    "SessionQuery",
    "TokenAnswer",
]
