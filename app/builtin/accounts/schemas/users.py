"""Users."""

from uuid import UUID

from pydantic import BaseModel


class Me(BaseModel):
    """The caller: who he is, and what the presented token lets him do."""

    id: UUID
    email: str
    roles: list[str]
    scopes: list[str]
