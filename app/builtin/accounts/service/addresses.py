"""Which e-mail addresses are taken from callers."""

from email_validator import EmailNotValidError, validate_email

from app.core.errors import Unprocessable


def checked_email(email: str) -> str:
    """The address as given, without surrounding space. A name without dots is a domain; reserved ones are not.

    Raises Unprocessable (422). Whether anybody reads mail there is not asked.
    """
    stripped = email.strip()
    try:
        validate_email(stripped, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as exc:
        raise Unprocessable("This is not an e-mail address.") from exc
    return stripped
