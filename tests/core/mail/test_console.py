"""What a developer sees."""

from io import StringIO

from app.core.mail import ConsoleMailer, Mail


async def test_the_mail_is_written_whole_with_its_link() -> None:
    output = StringIO()
    link = "http://localhost:8000/reset-password#token=et_x"
    await ConsoleMailer(output).send(Mail(kind="test", to="ann@example.com", subject="Hello", text=link))
    assert output.getvalue() == f"----- mail to ann@example.com: Hello\n{link}\n-----\n"
