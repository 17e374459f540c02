"""Asking the other service: what it may say, how to reach it safely, and what its failures become."""

from app.features.external_data.service.errors import (
    FailedUpstream,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamNotConfigured,
    UpstreamRejected,
    UpstreamTimeout,
    is_failure,
)
from app.features.external_data.service.provide import ExternalSettings, provide_external_data
from app.features.external_data.service.search import ExternalSearch

__all__ = [
    "ExternalSearch",
    "ExternalSettings",
    "FailedUpstream",
    "UpstreamBusy",
    "UpstreamFailed",
    "UpstreamNotConfigured",
    "UpstreamRejected",
    "UpstreamTimeout",
    "is_failure",
    "provide_external_data",
]
