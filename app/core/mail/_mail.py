"""A mail, and who can send one."""

from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Protocol

from email_validator import validate_email

_SHORTEST_CONTROL, _DELETE = " ", "\x7f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A plain text to one address.

    to: one address, ``local@domain``, without a display name. subject: one line. text: the body; links in it are secrets, so the repr
    hides it. kind: what it is, for the log; a word from the code, never from a request.

    Raises ValueError for an address or a subject with control characters, so that nobody adds fields to its head, and for an address
    that is more than one.
    """

    kind: str
    to: str = field(repr=False)
    subject: str
    text: str = field(repr=False)

    def __post_init__(self) -> None:
        for name, value in (("to", self.to), ("subject", self.subject)):
            if any(one < _SHORTEST_CONTROL or one == _DELETE for one in value):
                raise ValueError(f"Mail.{name} must not contain control characters")
        if any(one in self.to for one in ' ,;<>()"') or not all(self.to.rpartition("@")[::2]):
            raise ValueError("Mail.to must be one address, local@domain")

    def message(self, sender: str) -> EmailMessage:
        """The mail as RFC 5322 has it. ``sender`` is an address, with or without a name.

        Raises ValueError for one with line breaks, and for a domain that cannot be.
        """
        message = EmailMessage()
        local, _, domain = self.to.rpartition("@")
        message["From"] = sender
        message["To"] = Address(username=local, domain=_ascii(domain))
        message["Subject"] = self.subject
        message["Date"] = formatdate(localtime=False)
        message["Message-ID"] = make_msgid(domain=message["From"].addresses[0].domain or "localhost")
        # RFC 3834: no out-of-office note comes back.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self.text)
        return message


def _ascii(domain: str) -> str:
    """As the DNS has it, so that servers without SMTPUTF8 take it too; by IDNA 2008, which keeps names apart that look alike."""
    if domain.isascii():
        return domain
    found = validate_email(f"a@{domain}", check_deliverability=False, globally_deliverable=False)
    return str(found.ascii_domain)


class Mailer(Protocol):
    """Hands mails over, to a server or to whoever reads the console."""

    async def send(self, mail: Mail) -> None:
        """Return when it was taken. Raises ``MailNotSent``."""
        ...
