"""Who submitted a job, with what rights, as its row keeps that."""

from typing import Any

import orjson

from app.core.context import Principal


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
    """From the column of that name as text."""
    if stored is None:
        return None
    rights = orjson.loads(stored)
    scopes, roles = (frozenset(map(str, rights[kind])) for kind in ("scopes", "roles"))
    return Principal(rights["id"], scopes, roles, tenant_id=rights["tenant_id"])
