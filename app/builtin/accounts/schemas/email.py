"""E-mail addresses of users."""

from app.builtin.accounts.schemas._fields import CurrentPassword, EmailField, LinkToken
from app.builtin.accounts.schemas._strict import Strict


class EmailChange(Strict):
    """The address that the caller wants, and his password."""

    email: EmailField
    current_password: CurrentPassword


class EmailConfirmation(Strict):
    """The link that was sent."""

    token: LinkToken
