"""Accounts that people make for themselves."""

from app.builtin.accounts.schemas._fields import ChosenPassword, EmailField, LinkToken
from app.builtin.accounts.schemas._strict import Strict


class RegistrationRequest(Strict):
    """Who wants an account."""

    email: EmailField


class RegistrationConfirmation(Strict):
    """The link that was sent, and the password that is wanted."""

    token: LinkToken
    password: ChosenPassword
