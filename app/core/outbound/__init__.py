"""Calls to addresses that somebody outside has named: which may be called, and a transport that calls no others."""

from app.core.outbound._addresses import may_be_called
from app.core.outbound._errors import AddressRefused
from app.core.outbound._transport import GuardedBackend, GuardedTransport, Resolve, resolve

__all__ = [
    "AddressRefused",
    "GuardedBackend",
    "GuardedTransport",
    "Resolve",
    "may_be_called",
    "resolve",
]
