"""What bodies and forms have in common."""

from pydantic import BaseModel, ConfigDict

MAX_PASSWORD = 128
NO_CONTROL_CHARACTERS = r"^[^\x00-\x1f\x7f]+$"


class Strict(BaseModel):
    """A body or form: unknown fields and wrong types are refused, and what was given is never repeated in an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)
