"""What an override may not do: open what the code keeps shut."""

from app.core.policies._job_config import JobConfig
from app.core.policies._response_cache import ResponseCache
from app.core.policies._webhook import WebhookSignature

_WIDTH = {"user": 0, "tenant": 1, "public": 2}


def refuse_weaker(before: JobConfig, after: JobConfig) -> None:
    """Raise ValueError if ``after`` lets in, or shows to others, more than ``before``.

    Scopes may be added and not taken away; of several roles some may be taken away, not all, and none added; a second factor and a more
    recent sign-in may be asked for, and never be given up; answers may be shared with fewer callers and not with more; what is sealed or
    encrypted stays so; whose signature is asked for stays, and its tolerance can only shrink.
    """
    old, new = before.security, after.security
    if not set(old.scopes) <= set(new.scopes):
        raise ValueError(f"security.scopes can only grow: {', '.join(old.scopes)} must stay")
    if old.roles and (not new.roles or not set(new.roles) <= set(old.roles)):
        raise ValueError(
            f"security.roles can only shrink: one or more of {', '.join(old.roles)} and no others"
        )
    if old.mfa and not new.mfa:
        raise ValueError("security.mfa cannot be switched off by an override")
    if old.max_age is not None and (new.max_age is None or new.max_age > old.max_age):
        raise ValueError(f"security.max_age can only become shorter than {old.max_age}")
    if before.encryption and not after.encryption:
        raise ValueError("encryption cannot be switched off by an override")
    _refuse_weaker_signature(before.webhook, after.webhook)
    if before.encrypted_fields is not None and after.encrypted_fields != before.encrypted_fields:
        raise ValueError("encryption of fields can be changed in code only")
    if after.cache is not None and _WIDTH[after.cache.scope] > _WIDTH[_scope(before.cache)]:
        raise ValueError("cache.scope can only become narrower: user, then tenant, then public")


def _refuse_weaker_signature(old: WebhookSignature | None, new: WebhookSignature | None) -> None:
    if old is None:
        return
    if new is None or new.source != old.source:
        raise ValueError("webhook cannot be switched off or given to another source by an override")
    if new.tolerance > old.tolerance:
        raise ValueError(f"webhook.tolerance can only shrink: at most {old.tolerance:g}")


def _scope(cache: ResponseCache | None) -> str:
    return "user" if cache is None else cache.scope
