"""What the paths of links in e-mails have in common."""

from typing import Any

from app.core import JobConfig, RateLimit, Security

MAX_BODY = 65_536
# Who is nobody yet: limited by network, and refused while Valkey is down, because nobody could count what is sent then. The limit per
# address is in the service, because the address stands in the body.
ASK = JobConfig.public(
    rate_limit=RateLimit.fixed_window("ip", limit=20, window=60, scope="ip", on_store_down="closed"),
    max_body=MAX_BODY,
)
# A user who is signed in, and who gives his password or has mail sent.
OWN = JobConfig(
    security=Security(api_keys=False),
    rate_limit=RateLimit.fixed_window("user", limit=20, window=60, on_store_down="closed"),
    max_body=MAX_BODY,
)
# One who only has mail sent, to himself.
REMIND = JobConfig(
    security=Security(api_keys=False),
    rate_limit=RateLimit.fixed_window("user", limit=5, window=900, on_store_down="closed"),
    max_body=MAX_BODY,
)

NO_LINK: dict[int | str, Any] = {
    400: {"description": "The link is unknown, used, too old, replaced by a newer one, or for something else"}
}
NO_MAIL: dict[int | str, Any] = {404: {"description": "This service sends no e-mail"}}
NO_PASSWORD: dict[int | str, Any] = {
    400: {"description": "The current password is wrong"},
    403: {"description": "The caller is an API key"},
}
TAKEN: dict[int | str, Any] = {409: {"description": "The address got an account meanwhile"}}
