"""Users."""

from uuid import UUID

from pydantic import BaseModel


class Me(BaseModel):
    """The caller: who he is, and what the presented token lets him do."""

    id: UUID
    email: str
    email_verified: bool
    roles: list[str]
    scopes: list[str]
