"""A request on its way into an endpoint."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.types import Receive


class Incoming(NamedTuple):
    """A request as the gate sees it: its head, where its body comes from, the route's path template, its id."""

    scope: Mapping[str, Any]
    receive: Receive
    template: str
    request_id: str
