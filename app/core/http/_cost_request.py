"""What a cost function, or a rule of one's own, may look at."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from app.core.policies import CostRequest


def cost_request(scope: Mapping[str, Any]) -> CostRequest:
    """The head of a request, before its body is read."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return CostRequest(
        scope["method"],
        {name: str(value) for name, value in scope.get("path_params", {}).items()},
        parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True),
        int(length) if length.isdigit() else None,
    )
