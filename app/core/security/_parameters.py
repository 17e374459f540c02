"""``@with_encrypted_parameters``: sensitive arguments are encrypted, or decrypted, on their way into a function."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_type_hints, overload

from app.core.errors import ConfigurationError
from app.core.security._encryptor import DataEncryptor

P = ParamSpec("P")
R = TypeVar("R")
_ENCRYPT, _DECRYPT = "gatehouse: encrypt this parameter", "gatehouse: decrypt this parameter"

Encrypted = Annotated[str, _ENCRYPT]
"""A parameter that the caller gives as plain text and the function gets as a token."""

Decrypted = Annotated[str, _DECRYPT]
"""A parameter that the caller gives as a token and the function gets as plain text."""


@overload
def with_encrypted_parameters(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def with_encrypted_parameters(
    *, encrypt: Iterable[str] = (), decrypt: Iterable[str] = (), encryptor: DataEncryptor | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def with_encrypted_parameters(
    function: Callable[..., Any] | None = None,
    /,
    *,
    encrypt: Iterable[str] = (),
    decrypt: Iterable[str] = (),
    encryptor: DataEncryptor | None = None,
) -> Any:
    """Encrypt the arguments of the parameters named in ``encrypt``, and decrypt those in ``decrypt``, before the function runs.

    Bare, the annotations say which: ``ssn: Encrypted``, ``token: Decrypted``. None stays None. The function keeps its kind and its
    signature. ``encryptor``: by default ``DataEncryptor()`` of the process's keys, asked for at each call.

    Raises ConfigurationError at once when no parameter is meant, when one does not exist or is meant twice; at the call TypeError for an
    argument that is no text, and DecryptionFailed for a token that does not open. For what a model stores prefer an encrypted column
    (``EncryptedText``).
    """

    def decorate(target: Callable[..., Any]) -> Callable[..., Any]:
        ways = dict(_ways(target, tuple(encrypt), tuple(decrypt)))
        signature = inspect.signature(target)

        def changed(args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
            bound = signature.bind(*args, **kwargs)
            cipher = encryptor if encryptor is not None else DataEncryptor()
            for name, way in ways.items():
                if bound.arguments.get(name) is not None:
                    act = cipher.encrypt if way == _ENCRYPT else cipher.decrypt
                    bound.arguments[name] = act(bound.arguments[name])
            return bound

        return wraps(target)(_wrapper_of(target, changed))

    return decorate if function is None else decorate(function)


def _wrapper_of(target: Callable[..., Any], changed: Callable[..., inspect.BoundArguments]) -> Any:
    if inspect.iscoroutinefunction(target):

        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            bound = changed(args, kwargs)
            return await target(*bound.args, **bound.kwargs)

        return asynchronous

    def synchronous(*args: Any, **kwargs: Any) -> Any:
        bound = changed(args, kwargs)
        return target(*bound.args, **bound.kwargs)

    return synchronous


def _ways(
    target: Callable[..., Any], encrypt: tuple[str, ...], decrypt: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """Each parameter that is meant, with what is done to it."""
    name = getattr(target, "__qualname__", repr(target))
    parameters = inspect.signature(target).parameters
    meant = [(each, _ENCRYPT) for each in encrypt] + [(each, _DECRYPT) for each in decrypt]
    if not meant:
        hints = get_type_hints(target, include_extras=True)
        meant = [(each, way) for each in parameters for way in _marks(hints.get(each))]
    if not meant:
        raise ConfigurationError(
            f"with_encrypted_parameters: {name} has no parameter that is meant; annotate one as Encrypted or Decrypted, or name it"
        )
    names = [each for each, _ in meant]
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    for each in names:
        if each not in parameters or parameters[each].kind in kinds:
            raise ConfigurationError(f"with_encrypted_parameters: {name} has no parameter {each}")
        if names.count(each) > 1:
            raise ConfigurationError(f"with_encrypted_parameters: {name}: {each} is meant twice")
    yield from meant


def _marks(hint: Any) -> Iterator[str]:
    """The marks in an annotation, also in ``Encrypted | None``."""
    for part in (*getattr(hint, "__metadata__", ()), *get_args(hint)):
        if isinstance(part, str):
            if part in (_ENCRYPT, _DECRYPT):
                yield part
                return
        else:
            yield from _marks(part)
