"""Passwords and tokens for code of one's own, limited against abuse."""

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any

from app.builtin.accounts.service.passwords import check_password
from app.builtin.accounts.service.sign_in_guard import SignInLimits
from app.core.context import current_context
from app.core.errors import ConfigurationError
from app.core.http import client_network, current_platform
from app.core.policies import Admitter, AttemptLimit, RateLimit
from app.core.security import PasswordHasher, TokenService

_PER_SUBJECT, _PER_CALLER = 60, 600
_KEYS = frozenset({"sub", "scopes", "roles"})


class AccountFunctions:
    """What ``get_password_hash``, ``verify_password`` and ``create_access_token`` work with; one per application, or per script.

    ``limits`` hold for ``verify_password`` as for sign-ins: of one caller on one subject, of one caller, and of all on one subject, which
    then must wait ever longer. Tokens: 60 a minute for a subject, 600 for a caller.
    """

    def __init__(
        self,
        admitter: Admitter,
        passwords: PasswordHasher,
        tokens: TokenService,
        limits: SignInLimits,
        *,
        secret: bytes,
    ) -> None:
        self.passwords = passwords
        self.tokens = tokens
        near, delays = limits.near(), limits.delays(limits.delay_after)
        alone = limits.delays(limits.per_account)
        self._guesses = AttemptLimit(admitter, "verify_password", *near, *delays, secret=secret)
        self._guesses_alone = AttemptLimit(admitter, "verify_password_alone", *alone, secret=secret)
        subject = RateLimit.sliding_window("subject", limit=_PER_SUBJECT, window=60)
        caller = RateLimit.sliding_window("caller", limit=_PER_CALLER, window=60, scope="ip")
        self._tokens = AttemptLimit(admitter, "create_access_token", subject, caller, secret=secret)
        self._tokens_alone = AttemptLimit(admitter, "create_access_token", subject, secret=secret)

    async def verify(self, password: str, hashed: str | None, subject: str) -> bool:
        """Whether the password is right; charged before, and given back when it is."""
        caller = _caller()
        if caller is None:
            spent = await self._guesses_alone.spend(subject)
        else:
            spent = await self._guesses.spend(subject, caller)
        if hashed is None:
            return await self.passwords.verify_dummy_async(password)
        is_right = await self.passwords.verify_async(password, hashed)
        if is_right:
            await spent.give_back()
        return is_right

    async def issue(self, subject: str, scopes: Iterable[str], roles: Iterable[str]) -> str:
        """A token, after it was charged."""
        caller = _caller()
        if caller is None:
            await self._tokens_alone.spend(subject)
        else:
            await self._tokens.spend(subject, caller)
        return self.tokens.issue(subject, scopes=scopes, roles=roles).token


class _Default:
    """Those that a door or a script named for the whole process."""

    functions: AccountFunctions | None = None


def configure_functions(functions: AccountFunctions) -> Callable[[], None]:
    """Set what the functions work with outside requests. The answer forgets it, unless others took its place."""

    def forget() -> None:
        if _Default.functions is functions:
            _Default.functions = None

    _Default.functions = functions
    return forget


async def get_password_hash(password: str, *, email: str | None = None) -> str:
    """The hash under which a chosen password is stored: argon2id, salted.

    Raises ``UnfitPassword`` (422) for one that must not be chosen (``check_password``), and ``Unavailable`` (503) when too many wait.
    """
    check_password(password, email=email)
    return await _functions().passwords.hash_async(password)


async def verify_password(password: str, hashed: str | None, *, subject: str | None = None) -> bool:
    """Whether ``password`` is the one behind ``hashed``; ``None``, for a user that does not exist, is false after the same work.

    Every try is charged before, to ``subject``, whose password it is (default: the hash), and in a request also to its caller: the
    context's principal, or the client's network. A right password costs nothing. Raises ``PolicyRejected`` (429, with ``retry_after``)
    beyond the limits, ``Unavailable`` (503) when nobody can count or too many wait, ``ValueError`` with neither hash nor subject, and
    ``ConfigurationError`` in a script that was not configured. Not for sign-ins: ``SignIn`` knows devices and networks.
    """
    if subject is None:
        if hashed is None:
            raise ValueError("say whose password it is: subject=")
        subject = sha256(hashed.encode("utf-8", "surrogatepass")).hexdigest()
    return await _functions().verify(password, hashed, subject)


async def create_access_token(data: Mapping[str, Any]) -> str:
    """A signed access token for ``data["sub"]``, with ``data["scopes"]`` and ``data["roles"]``, each a list of names or absent.

    It belongs to no session and cannot be refreshed; it ends by itself, or with all tokens of its subject. Charged to the subject, and in a
    request also to its caller. Raises ``PolicyRejected`` (429), ``ValueError`` for other data or names that a token cannot carry, and
    ``ConfigurationError`` in a script that was not configured. It asks nobody whether the subject exists, or has these rights.
    """
    subject = data.get("sub")
    scopes, roles = (data.get(name, ()) for name in ("scopes", "roles"))
    is_text = [isinstance(value, str) for value in (subject, scopes, roles)]
    # A space in one name would make two scopes of it.
    if is_text != [True, False, False] or not data.keys() <= _KEYS or any(" " in name for name in scopes):
        raise ValueError("an access token is made of sub, a text, and of scopes and roles, lists of names")
    return await _functions().issue(str(subject), scopes, roles)


def _functions() -> AccountFunctions:
    try:
        platform = current_platform()
    except ConfigurationError:
        if _Default.functions is None:
            raise ConfigurationError(
                "Passwords and tokens are not configured in this process: use script_functions()"
            ) from None
        return _Default.functions
    return platform.require(AccountFunctions)


def _caller() -> str | None:
    """Who asks for it: a principal, a network, or nobody, in a script."""
    context = current_context()
    if context.principal is not None:
        return f"user {context.principal.id}"
    return client_network(context.client_ip) if context.client_ip is not None else None
