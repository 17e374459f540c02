"""What the service writes to its users. Plain text, without anything that a stranger could have chosen."""

from app.core.mail import Mail


class MailTexts:
    """``app_name`` is how the service calls itself, ``base_url`` where its pages are; never the Host of a request, which callers choose.

    The token stands behind a ``#``: browsers do not send that part, so it comes into no log and no Referer.
    """

    def __init__(self, app_name: str, base_url: str) -> None:
        self._app_name = app_name
        self._base_url = base_url.rstrip("/")

    def reset_password(self, to: str, token: str) -> Mail:
        """The link with which a new password is set."""
        return self._mail(
            "reset_password",
            to,
            "Set a new password",
            "Somebody asked to set a new password for your account. If it was you, follow this link; it works once, for a short time:\n\n"
            f"{self._link('reset-password', token)}\n\n"
            "If it was not you, you need not do anything: your password stays as it is.",
        )

    def verify_email(self, to: str, token: str) -> Mail:
        """The link that shows that he reads this."""
        return self._mail(
            "verify_email",
            to,
            "Confirm your e-mail address",
            f"Follow this link to confirm that this is the address of your account:\n\n{self._link('verify-email', token)}\n\n"
            "If you have no account here, do not follow it.",
        )

    def change_email(self, to: str, token: str) -> Mail:
        """The same, to an address that an account is to have."""
        return self._mail(
            "change_email",
            to,
            "Confirm your new e-mail address",
            f"Follow this link to make this the address of your account:\n\n{self._link('verify-email', token)}\n\n"
            "If you did not ask for that, do not follow it.",
        )

    def change_email_asked(self, to: str) -> Mail:
        """The warning to the address that the account still has."""
        return self._mail(
            "change_email_asked",
            to,
            "Your account is to get another e-mail address",
            "Somebody who knows your password asked to give your account another e-mail address.\n\n"
            "If it was not you, set a new password now; that also stops the change.",
        )

    def email_changed(self, to: str) -> Mail:
        """To the address that the account had."""
        return self._mail(
            "email_changed",
            to,
            "Your account has another e-mail address",
            "Your account has another e-mail address now; this was the last e-mail to this one.\n\n"
            "If it was not you who changed it, tell whoever runs this service.",
        )

    def password_changed(self, to: str) -> Mail:
        """After whatever set a password."""
        return self._mail(
            "password_changed",
            to,
            "Your password was changed",
            "Your password was changed, and you were signed out everywhere.\n\n"
            "If it was not you, set a new password now, and tell whoever runs this service.",
        )

    def register(self, to: str, token: str) -> Mail:
        """The link that makes an account."""
        return self._mail(
            "register",
            to,
            "Finish your registration",
            f"Follow this link and choose a password to have an account:\n\n{self._link('register', token)}\n\n"
            "If you did not ask for one, do not follow it; there is no account then.",
        )

    def has_account(self, to: str) -> Mail:
        """To an address that somebody wanted to register, or to give to another account."""
        return self._mail(
            "has_account",
            to,
            "You have an account already",
            "Somebody wanted to use this e-mail address for a new account, or for another one. It has an account already, and nothing was"
            " changed.\n\nIf it was you, sign in, or ask for a new password if you forgot it.",
        )

    def _mail(self, kind: str, to: str, subject: str, text: str) -> Mail:
        return Mail(kind=kind, to=to, subject=f"{self._app_name}: {subject}", text=f"{text}\n")

    def _link(self, page: str, token: str) -> str:
        return f"{self._base_url}/{page}#token={token}"
