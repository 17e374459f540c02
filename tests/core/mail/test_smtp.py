"""Against a real SMTP server on this machine, in the clear and with TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.core.mail import Mail, MailNotSent, SMTPMailer, Transport
from tests.cases import each_case

MAIL = Mail(
    kind="test", to="ann@example.com", subject="Grüße", text="Follow https://example.com/#token=et_x\n"
)
SENDER = "Gatehouse <no-reply@example.org>"


class Inbox:
    """What the server took; ``refuses`` is what it answers instead, ``login`` whom it lets in."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.refuses: dict[str, str] = {}
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_RCPT(self, _s: Any, _c: Any, envelope: Envelope, address: str, _o: Any) -> str:  # noqa: N802
        if "rcpt" in self.refuses:
            return self.refuses["rcpt"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802
        if "data" in self.refuses:
            return self.refuses["data"]
        self.taken.append(envelope)
        return "250 OK"

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _kind: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"a-good-password", handled=False)

    def mail(self) -> EmailMessage:
        [envelope] = self.taken
        assert isinstance(envelope.content, bytes)
        return message_from_bytes(envelope.content, policy=policy.default)


class Certificate(NamedTuple):
    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For 127.0.0.1, and a client that believes it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file: Path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return Certificate(server, ssl.create_default_context(cafile=str(file)))


@asynccontextmanager
async def serving(inbox: Inbox, *, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[int]:
    """The port of a server in this loop; ``tls`` is for a port that speaks nothing else."""
    make: Callable[[], SMTP] = lambda: SMTP(inbox, loop=asyncio.get_running_loop(), **options)  # noqa: E731
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def mailer(port: int, **options: Any) -> SMTPMailer:
    return SMTPMailer(Transport(host="127.0.0.1", port=port, **options), sender=SENDER)


class TestSend:
    async def test_with_starttls_and_a_login_the_mail_arrives_as_it_was_written(
        self, certificate: Certificate
    ) -> None:
        inbox = Inbox()
        options: dict[str, Any] = {
            "require_starttls": True,
            "auth_required": True,
            "authenticator": inbox.authenticate,
        }
        async with serving(inbox, **options, tls_context=certificate.server) as port:
            await mailer(port, username="gate", password="a-good-password", context=certificate.client).send(
                MAIL
            )
        assert inbox.logins == [(b"gate", b"a-good-password")]
        [envelope] = inbox.taken
        assert (envelope.mail_from, envelope.rcpt_tos) == ("no-reply@example.org", ["ann@example.com"])
        assert inbox.mail()["Subject"] == "Grüße"
        assert inbox.mail().get_content().replace("\r\n", "\n") == MAIL.text

    async def test_with_implicit_tls(self, certificate: Certificate) -> None:
        inbox = Inbox()
        async with serving(inbox, tls=certificate.server) as port:
            await mailer(port, tls="implicit", context=certificate.client).send(MAIL)
        assert len(inbox.taken) == 1

    async def test_a_server_that_does_not_encrypt_gets_nothing_unless_that_is_asked_for(self) -> None:
        inbox = Inbox()
        async with serving(inbox) as port:
            with pytest.raises(MailNotSent):
                await mailer(port).send(MAIL)
            assert inbox.taken == []
            await mailer(port, tls="none").send(MAIL)
        assert len(inbox.taken) == 1

    async def test_a_certificate_that_nobody_vouches_for_gets_nothing(self, certificate: Certificate) -> None:
        inbox = Inbox()
        async with serving(inbox, tls_context=certificate.server) as port:
            with pytest.raises(MailNotSent):
                await mailer(port).send(MAIL)
        assert inbox.taken == []

    @each_case(
        ("step", "answer", "is_final"),
        [
            ("rcpt", "550 5.1.1 no such user ann@example.com", True),
            ("rcpt", "450 4.2.1 later", False),
            ("data", "554 5.7.1 spam", True),
            ("data", "451 4.3.0 later", False),
        ],
    )
    async def test_what_the_server_refuses_is_final_when_it_says_so(
        self, step: str, answer: str, *, is_final: bool
    ) -> None:
        inbox = Inbox()
        inbox.refuses[step] = answer
        async with serving(inbox) as port:
            with pytest.raises(MailNotSent) as refused:
                await mailer(port, tls="none").send(MAIL)
        assert refused.value.is_final is is_final
        assert answer[:3] in refused.value.reason
        assert "ann@" not in refused.value.reason

    async def test_an_address_that_is_not_ascii_needs_a_server_that_takes_it(self) -> None:
        inbox, other = Inbox(), Mail(kind="test", to="jürgen@example.com", subject="s", text="t")
        async with serving(inbox) as port:
            with pytest.raises(MailNotSent) as refused:
                await mailer(port, tls="none").send(other)
        assert (refused.value.is_final, inbox.taken) == (True, [])
        async with serving(inbox, enable_SMTPUTF8=True) as port:
            await mailer(port, tls="none").send(other)
        assert inbox.taken[0].rcpt_tos == ["jürgen@example.com"]

    async def test_a_wrong_password_is_final(self, certificate: Certificate) -> None:
        inbox = Inbox()
        options: dict[str, Any] = {"auth_required": True, "authenticator": inbox.authenticate}
        async with serving(inbox, **options, tls_context=certificate.server) as port:
            with pytest.raises(MailNotSent) as refused:
                await mailer(port, username="gate", password="another-one", context=certificate.client).send(
                    MAIL
                )
        assert (refused.value.is_final, inbox.taken) == (True, [])

    async def test_nobody_there_may_be_tried_again(self) -> None:
        with pytest.raises(MailNotSent) as refused:
            await mailer(1).send(MAIL)
        assert not refused.value.is_final


class TestTransport:
    @each_case("changes", [{"port": 0}, {"port": 65_536}, {"timeout_s": 0}, {"timeout_s": 301}])
    def test_options_out_of_range_are_refused(self, changes: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(changes))):
            Transport(host="mail.example.com", **changes)

    def test_its_repr_hides_the_password(self) -> None:
        assert "a-good-password" not in repr(Transport(host="a", username="b", password="a-good-password"))
