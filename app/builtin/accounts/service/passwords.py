"""Which passwords may be chosen (OWASP ASVS 5, 6.2): for whatever sets one, and never for a sign-in."""

import gzip
from functools import cache
from importlib import resources
from typing import Literal
from unicodedata import normalize

from app.builtin.accounts.schemas import MAX_PASSWORD
from app.core.errors import Unprocessable

MIN_PASSWORD = 8
_COMMON = "common_passwords.txt.gz"  # source and licences: common_passwords.LICENSE

UnfitReason = Literal["length", "encoding", "common", "personal"]


class UnfitPassword(Unprocessable):
    """This password must not be chosen; ``extensions["reason"]`` says why, the password stands nowhere."""

    def __init__(self, reason: UnfitReason, detail: str) -> None:
        super().__init__(detail, extensions={"reason": reason})


def check_password(password: str, *, email: str | None = None, app_name: str = "gatehouse") -> None:
    """Whether ``password`` may be the one of the account ``email``: every place that sets a password asks this first.

    8 to 128 characters (not bytes) of any kind; not one of 16,285 that many people use; not the address, the part of it before the @, or
    ``app_name``. Case and the width of letters make no difference for the last two rules. There are no rules of composition, nothing is cut
    off or changed, and what passes is hashed as it was given.

    Raises ``UnfitPassword`` (422). Not for sign-ins: a password that was chosen before a rule must go on to work. The first call reads the
    list, a few milliseconds.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise UnfitPassword("length", f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters.")
    try:
        password.encode()
    except UnicodeEncodeError:  # Without a cause: the error's text holds the password.
        raise UnfitPassword("encoding", "A password is Unicode text.") from None
    folded = _folded(password)
    if folded in _names(email, app_name):
        raise UnfitPassword("personal", "This password is a name that others know; choose another password.")
    if folded in common_passwords():
        raise UnfitPassword("common", "This password is used by many; choose another password.")


@cache
def common_passwords() -> frozenset[str]:
    """The packaged list: folded, each at least 8 characters long."""
    packed = resources.files(__package__).joinpath(_COMMON).read_bytes()
    return frozenset(gzip.decompress(packed).decode().splitlines())


def _names(email: str | None, app_name: str) -> set[str]:
    address = _folded((email or "").strip())
    return {address, address.rpartition("@")[0], _folded(app_name)}


def _folded(text: str) -> str:
    return normalize("NFKC", normalize("NFKC", text).casefold())
