"""What stands in an encrypted column."""

from typing import NamedTuple, NoReturn

from app.core.security import DataEncryptor, DecryptionFailed

_ID_LENGTH = 8


class StoredText(NamedTuple):
    """What is in the column: the id of the key, a dot, and the token. The id lets rotation find rows of old keys by their beginning."""

    key_id: str
    token: str

    def __str__(self) -> str:
        return f"{self.key_id}.{self.token}"

    @classmethod
    def parse(cls, stored: str, purpose: str) -> "StoredText":
        """Raises DecryptionFailed for what no encrypted column has written."""
        key_id, dot, token = stored.partition(".")
        if not dot or len(key_id) != _ID_LENGTH:
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
