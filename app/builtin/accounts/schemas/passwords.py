"""Other passwords."""

from app.builtin.accounts.schemas._fields import ChosenPassword, CurrentPassword, EmailField, LinkToken
from app.builtin.accounts.schemas._strict import Strict


class PasswordChangeIn(Strict):
    """The caller's password, and the one that he wants."""

    current_password: CurrentPassword
    new_password: ChosenPassword


class PasswordResetRequest(Strict):
    """Whose password was forgotten."""

    email: EmailField


class PasswordResetConfirmation(Strict):
    """The link that was sent, and the password that is wanted."""

    token: LinkToken
    new_password: ChosenPassword
