"""Mails over SMTP."""

from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Literal

from aiosmtplib import (
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
    send,
)

from app.core.mail._errors import MailNotSent
from app.core.mail._mail import Mail


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How the server is reached.

    tls: ``starttls`` (port 587) and ``implicit`` (port 465) refuse a server that does not encrypt, or whose certificate does not fit its
    name; ``none`` sends links and the password in the clear, so only to this machine. timeout_s: for each step of the conversation, 0.1 to
    300 seconds. context: certificates to believe besides the system's way; for tests and authorities of one's own.

    Raises ValueError for options outside their range.
    """

    host: str
    port: int = 587
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_s: float = 10.0
    context: SSLContext | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65_535:
            raise ValueError(f"Transport.port must be 1 to 65535, not {self.port}")
        if not 0.1 <= self.timeout_s <= 300:
            raise ValueError(f"Transport.timeout_s must be 0.1 to 300 seconds, not {self.timeout_s}")


class SMTPMailer:
    """Sends each mail over a connection of its own, from ``sender``. For newsletters take a service that keeps connections."""

    def __init__(self, transport: Transport, *, sender: str) -> None:
        self._transport = transport
        self._sender = sender

    async def send(self, mail: Mail) -> None:
        """Hand it to the server. Raises ``MailNotSent``: final for what the server refuses for good (5xx) or cannot do."""
        to = self._transport
        try:
            await send(
                mail.message(self._sender),
                hostname=to.host,
                port=to.port,
                username=to.username,
                password=to.password,
                timeout=to.timeout_s,
                use_tls=to.tls == "implicit",
                # Not None, which would go on in the clear where the server offers nothing else.
                start_tls=to.tls == "starttls",
                tls_context=to.context,
            )
        except (SMTPException, OSError) as error:
            raise _refusal(error) from error


def _refusal(error: Exception) -> MailNotSent:
    if isinstance(error, SMTPRecipientsRefused):
        codes = [refused.code for refused in error.recipients]
        return MailNotSent(f"recipient {codes[0]}", is_final=all(code >= 500 for code in codes))
    if isinstance(error, SMTPResponseException):
        return MailNotSent(f"{type(error).__name__} {error.code}", is_final=error.code >= 500)
    return MailNotSent(type(error).__name__, is_final=isinstance(error, SMTPNotSupported))
