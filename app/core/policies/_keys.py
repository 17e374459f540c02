"""Where a limit is stored: the key of one caller's bucket, hash-tagged by partition and safe against crafted names.

Key = ``{partition}:v1:l:<bucket>[:<other parts>]``. Valkey Cluster hashes what stands in the *first* braces, so no caller-supplied text
may bring braces of its own: whatever is not plainly harmless is replaced by its hash. ``v1`` is the schema: old and new processes of
a rolling deploy never read each other's states.
"""

from collections.abc import Callable
from typing import NamedTuple, Self

from app.core.context import Principal
from app.core.policies._rate_limit import RateLimit
from app.core.valkey import escape


class Caller(NamedTuple):
    """Whose buckets are meant. ``network`` is the client's address as limits see it: one IPv4 address or one IPv6 /64."""

    principal: Principal | None
    network: str

    @classmethod
    def of(cls, account: str) -> Self:
        """The caller whose id is ``account``, for work that is not done in his request."""
        return cls(Principal(account), "")


def user_partition(caller: Caller) -> str:
    """The caller's own partition; his network's if he is anonymous."""
    principal = caller.principal
    return "u:" + escape(principal.id) if principal is not None else network_partition(caller)


def network_partition(caller: Caller) -> str:
    """The partition of the caller's network."""
    return "ip:" + escape(caller.network)


def _api_key(caller: Caller) -> str:
    principal = caller.principal
    return (
        "k:" + escape(principal.api_key_id)
        if principal is not None and principal.api_key_id
        else user_partition(caller)
    )


def tenant_partition(caller: Caller) -> str:
    """The partition of the caller's tenant; his own if he has none."""
    principal = caller.principal
    return (
        "t:" + escape(principal.tenant_id)
        if principal is not None and principal.tenant_id
        else user_partition(caller)
    )


_PARTS: dict[str, Callable[[Caller], str]] = {
    "user": user_partition,
    "api_key": _api_key,
    "tenant": tenant_partition,
    "ip": network_partition,
}
_SLOT_ORDER = ("user", "api_key", "tenant", "ip")  # the first that a limit has names its partition


def slot_of(key: str) -> str:
    """The part of a key, braces included, that a Cluster places it by. Raises ValueError for a key without one."""
    return key[: key.index("}") + 1]


def bucket_of(policy: str, limit: RateLimit) -> str:
    """The bucket's name: the endpoint's own, one shared by name (``=``), or one of the whole service (``*``)."""
    if limit.shared is not None:
        return f"={limit.shared}"
    return f"*.{limit.name}" if "global" in limit.scopes else f"{policy}.{limit.name}"


def key_of(policy: str, limit: RateLimit) -> Callable[[Caller], str]:
    """Build, once per endpoint, the function that names a caller's bucket."""
    bucket = bucket_of(policy, limit)
    parts = [_PARTS[name] for name in _SLOT_ORDER if name in limit.scopes]
    if "route" in limit.scopes and limit.shared is not None:
        bucket = f"{bucket}:{policy}"
    if not parts:
        constant = f"{{b:{bucket}}}:v1:l:{bucket}"
        return lambda _: constant
    # An API key lives in its owner's slot: the owner is the partition, the key a part of the name.
    partition = user_partition if limit.scopes == ("api_key",) else parts[0]
    others = parts if limit.scopes == ("api_key",) else parts[1:]
    suffix = f":v1:l:{bucket}"
    if not others:
        return lambda caller: f"{{{partition(caller)}}}{suffix}"
    return lambda caller: "|".join((f"{{{partition(caller)}}}{suffix}", *(part(caller) for part in others)))
