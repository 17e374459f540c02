"""Who submitted a job, with what rights, as its row keeps that."""

from typing import Any

import orjson

from app.core.context import Principal

_UNKNOWN = "unknown"


def packed_submitter(principal: Principal | None) -> dict[str, Any]:
    """Values of the three columns."""
    if principal is None:
        return {"owner": None, "tenant_id": None, "submitter": None}
    rights = {
        "id": principal.id,
        "scopes": sorted(principal.scopes),
        "roles": sorted(principal.roles),
        "tenant_id": principal.tenant_id,
    }
    return {
        "owner": principal.id,
        "tenant_id": principal.tenant_id,
        "submitter": orjson.dumps(rights).decode(),
    }


def unpacked_submitter(stored: str | None) -> Principal | None:
    """From the column of that name as text. A right that is not there, as in rows of other releases and of somebody's hand, he does not
    have: a row that cannot be read would keep all that are read with it from their workers.
    """
    if stored is None:
        return None
    kept = orjson.loads(stored)
    rights: dict[str, Any] = kept if isinstance(kept, dict) else {}
    return Principal(
        rights.get("id", _UNKNOWN),
        frozenset(rights.get("scopes", ())),
        frozenset(rights.get("roles", ())),
        tenant_id=rights.get("tenant_id"),
    )
