"""E-mail: what a mail is, who sends it, and the background in which that happens. Knows no account and no request."""

from app.core.mail._console import ConsoleMailer
from app.core.mail._errors import MailboxFull, MailNotSent
from app.core.mail._mail import Mail, Mailer
from app.core.mail._postman import Postman
from app.core.mail._smtp import SMTPMailer, Transport

__all__ = [
    "ConsoleMailer",
    "Mail",
    "MailNotSent",
    "MailboxFull",
    "Mailer",
    "Postman",
    "SMTPMailer",
    "Transport",
]
