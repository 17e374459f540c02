"""What somebody should look at."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class FindingOut(BaseModel):
    """A finding: the evidence, and the fix. ``ddl`` are statements for an operator; the service runs none of them."""

    model_config = ConfigDict(from_attributes=True)

    check: str
    severity: Literal["critical", "warning", "info"]
    subject: str
    title: str
    evidence: str
    fix: str
    ddl: list[str]
