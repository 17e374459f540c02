"""Who presents what: a token, or an API key."""

from collections.abc import Iterable

from app.core.context import Principal
from app.core.errors import BadRequest, Unavailable
from app.core.http._bearer import bearer_token, presented
from app.core.http._gate_kit import TokenVerifier
from app.core.security import API_KEY_PREFIX, ApiKeys, KeysNotLoaded

Headers = Iterable[tuple[bytes, bytes]]


class Credentials:
    """What one application accepts as proof of who is calling: ``Authorization: Bearer`` with a token or an API key, which its prefix
    tells from a token, and where there are API keys ``X-API-Key`` with one of these. A request presents one.
    """

    __slots__ = ("_keys", "_tokens")

    def __init__(self, tokens: TokenVerifier | None, keys: ApiKeys | None) -> None:
        self._tokens = tokens
        self._keys = keys

    def principal(self, headers: Headers, address: str | None) -> Principal | None:
        """The caller; None for one who presents nothing of these. ``address`` is the client's.

        Another scheme is a client's own credentials, as OAuth2 sends them to a token endpoint: they say nothing to us. Raises BadRequest
        for two credentials, InvalidToken for one that is not good, KeysNotLoaded for one that cannot be judged yet. No I/O.
        """
        value, key = presented(headers)
        if key is not None and self._keys is not None:
            if value is not None:
                raise BadRequest("Authorization and X-API-Key in one request: present one of them.")
            return self._keys.verify(key.decode("latin-1"), address)
        text = bearer_token(value) if value is not None else None
        if text is None:
            return None
        if self._keys is not None and text.startswith(API_KEY_PREFIX):
            return self._keys.verify(text, address)
        return self._tokens.verify(text) if self._tokens is not None else None

    async def found(self, headers: Headers, address: str | None) -> Principal | None:
        """The caller, after waiting for what is needed to judge him. Raises KeysNotLoaded (503) only when it cannot be had."""
        try:
            return self.principal(headers, address)
        except KeysNotLoaded as missing:
            await missing.load()
            return self.principal(headers, address)

    def looked_up_anew(self, principal: Principal) -> bool:
        """Whether it is worth asking again for a caller of whom ADMIT says that something has ended: an API key is then looked up anew.

        His key may have ended, or his owner was signed out everywhere, got another password or other rights, and the key goes on.
        """
        if self._keys is None or principal.api_key_id is None:
            return False
        self._keys.forget(principal)
        return True


def being_changed() -> Unavailable:
    """The database says that an API key is good, the store that it has ended: one of them is just about to learn."""
    return Unavailable("This API key or its owner is being changed.", retry_after=1)
