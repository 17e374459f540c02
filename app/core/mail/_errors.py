"""Why a mail did not go out.

Unavailable        503
├── MailNotSent    a mailer could not hand it over
└── MailboxFull    too many wait already
"""

from app.core.errors import Unavailable


class MailNotSent(Unavailable):
    """A mailer could not hand a mail over. ``is_final``: it will not be taken later either.

    ``reason`` is a word or a status for the log: never the server's text, which may repeat the address.
    """

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__("The e-mail could not be sent.")
        self.reason = reason
        self.is_final = is_final


class MailboxFull(Unavailable):
    """More mails wait than this process keeps, or it is stopping. Nothing of this one was kept."""

    def __init__(self) -> None:
        super().__init__("Too many e-mails are waiting to be sent; try again later.", retry_after=30)
