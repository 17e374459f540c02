"""Fields that several bodies have."""

from typing import Annotated

from pydantic import Field, SecretStr

from app.builtin.accounts.schemas._strict import MAX_PASSWORD, NO_CONTROL_CHARACTERS

EmailField = Annotated[
    str,
    Field(min_length=1, max_length=254, pattern=NO_CONTROL_CHARACTERS, description="An e-mail address"),
]
CurrentPassword = Annotated[
    SecretStr, Field(min_length=1, max_length=MAX_PASSWORD, description="The password that the user has")
]
ChosenPassword = Annotated[
    SecretStr,
    Field(min_length=1, max_length=MAX_PASSWORD, description="8 to 128 characters, not a common one"),
]
LinkToken = Annotated[
    SecretStr, Field(min_length=1, max_length=256, description="What stands behind `#token=` in the link")
]
