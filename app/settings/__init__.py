"""Every environment variable, typed, with its default and unit. Only doors (main, cli, dev, worker) read this package.

`.env.example` lists the same names; a test keeps the two equal.
"""

from app.core import db
from app.settings._groups import (
    CorsSettings,
    ExternalDataSettings,
    LoginSettings,
    LogSettings,
    MetricsSettings,
    MfaSettings,
    MonitorSettings,
    TokenSettings,
)
from app.settings._mail import MailSettings, RegistrationSettings
from app.settings._oidc import OidcNames, OidcSettings
from app.settings._script import load_environment_files
from app.settings._settings import DEVELOPMENT_SECRET, Settings, describe_errors

__all__ = [
    "DEVELOPMENT_SECRET",
    "CorsSettings",
    "ExternalDataSettings",
    "LogSettings",
    "LoginSettings",
    "MailSettings",
    "MetricsSettings",
    "MfaSettings",
    "MonitorSettings",
    "OidcNames",
    "OidcSettings",
    "RegistrationSettings",
    "Settings",
    "TokenSettings",
    "describe_errors",
    "load_environment_files",
]

db.configure_environment(load_environment_files)  # for @with_secure_environment
