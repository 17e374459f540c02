"""What stands in an encrypted column."""

import re
from typing import NamedTuple, NoReturn

from app.core.security import DataEncryptor, DecryptionFailed

_KEY_ID = re.compile("[0-9a-f]{8}")
_FERNET = "gAAAA"  # Its version, and the first bytes of the time until the year 2106.


class StoredText(NamedTuple):
    """What is in the column: the id of the key, a dot, and the token. The id lets rotation find rows of old keys by their beginning."""

    key_id: str
    token: str

    def __str__(self) -> str:
        return f"{self.key_id}.{self.token}"

    @classmethod
    def parse(cls, stored: str, purpose: str) -> "StoredText":
        """Raises DecryptionFailed for what no encrypted column has written."""
        key_id, _, token = stored.partition(".")
        # A plain text must not pass for a key's id: errors name that.
        if not _KEY_ID.fullmatch(key_id) or not token.startswith(_FERNET):
            raise DecryptionFailed(f"A value of {purpose} is not encrypted, or it was changed.")
        return cls(key_id, token)

    @classmethod
    def of(cls, text: str, encryptor: DataEncryptor) -> "StoredText":
        """``text`` under the newest key."""
        return cls(encryptor.key_id, encryptor.encrypt(text))

    def open(self, encryptor: DataEncryptor) -> str:
        """The text. Raises DecryptionFailed that names the column, and the key if it is not there."""
        try:
            return encryptor.decrypt(self.token)
        except DecryptionFailed:
            self._refuse(encryptor)

    def rotated(self, encryptor: DataEncryptor) -> "StoredText":
        """The same text under the newest key. Raises DecryptionFailed as ``open`` does."""
        try:
            return StoredText(encryptor.key_id, encryptor.rotate(self.token))
        except DecryptionFailed:
            self._refuse(encryptor)

    def _refuse(self, encryptor: DataEncryptor) -> NoReturn:
        if self.key_id not in encryptor.key_ids:
            raise DecryptionFailed(
                f"A value of {encryptor.purpose} was encrypted with the key {self.key_id}, which is not among ENCRYPTION_KEYS "
                f"(there: {', '.join(encryptor.key_ids)}); put it back behind the others."
            ) from None
        raise DecryptionFailed(
            f"A value of {encryptor.purpose} was changed after it was encrypted."
        ) from None
