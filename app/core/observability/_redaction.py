"""Keeps secrets out of log lines: by the name of a field, and by the look of a value.

The second net is for text that others wrote (exceptions, libraries); our own code does not log secrets at
all.
"""

import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"

_MAX_TEXT = 20_000  # Bounds the work below and the line; longer text is cut.
_MAX_DEPTH = 6

_NAMES = (
    r"pass(?:word|wd|phrase)|pwd|secret|token|authorization|cookie|api[_-]?key|credential|private[_-]?key|otp"
)
_FIELDS = rf"{_NAMES}|csrf|(?:recovery|mfa|backup)[_-]?codes?"
_is_secret_name = re.compile(_FIELDS, re.IGNORECASE).search
_is_harmless_name = re.compile(r"_(?:id|type|count|ttl|ttl_s|expires_at)$", re.IGNORECASE).search

# Quantifiers are bounded: this runs on text that callers can influence.
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]{0,8000}?-----END [A-Z ]{0,30}PRIVATE KEY-----",
            REDACTED,
        ),
        (r"otpauth://\S{1,2000}", REDACTED),
        (r"whsec_[\w+/=-]{8,2000}", REDACTED),
        (r"\$argon2[a-z]{1,2}\$\S{1,400}", REDACTED),
        (r"\b(?=[A-Z]{0,31}[2-7])[A-Z2-7]{32}\b", REDACTED),  # a TOTP secret
        (
            # 32 random bytes, with a short prefix that says for what, or without: cookies, tokens of mails and of second factors.
            r"(?<![\w-])(?:[a-z]{2,6}_)?(?=[\w-]{43}(?![\w-]))(?=[\w-]{0,42}[a-z])(?=[\w-]{0,42}[A-Z])(?=[\w-]{0,42}\d)[\w-]{43}",
            REDACTED,
        ),
        (r"\beyJ[\w-]{5,}(?:\.[\w-]*){1,4}", REDACTED),
        (r"\b[er]t_[\w-]{43}", REDACTED),
        (r"\bsk_[0-9A-Za-z]{1,22}_[0-9A-Za-z_-]{16,200}", REDACTED),
        (r"(?i)\b(bearer|basic)\s+(?=\S{0,200}[\d=])[\w.~+/=-]{8,}", rf"\1 {REDACTED}"),
        (r"(://[^\s:/@]{0,256}:)\S{1,256}@", rf"\1{REDACTED}@"),
        (
            r"(?i)(b?['\"](?:set-)?(?:cookie|authorization|x-api-key)['\"]\s?,\s?)b?(['\"]).*?\2",
            rf"\1{REDACTED}",
        ),
        (
            r"(?i)\b((?:set-)?cookie|authorization)(['\"]?\s?[:=]\s?)(?!\[redacted\]).{1,8000}",
            rf"\1\2{REDACTED}",
        ),
        (
            rf"(?i)\b(\w{{0,40}}(?:{_NAMES})\w{{0,40}}['\"]?\s?[:=]\s?)(?:'[^'\n]{{0,4000}}'|\"[^\"\n]{{0,4000}}\"|[^\s,;&)}}\]'\"]+)",
            rf"\1{REDACTED}",
        ),
        (r"input_value=[\s\S]{0,400}?, input_type=", f"input_value={REDACTED}, input_type="),
        (r"\[parameters: .{0,8000}\]", f"[parameters: {REDACTED}]"),
        (r"Failing row contains \(.{0,8000}\)", f"Failing row contains ({REDACTED})"),
    )
)


def redact_text(text: str) -> str:
    """``text`` without what looks like a credential; cut after 20,000 characters."""
    if len(text) > _MAX_TEXT:
        text = text[:_MAX_TEXT] + "…"
    for pattern, replacement in _SHAPES:
        text = pattern.sub(replacement, text)
    return text


def redact(name: str, value: Any, depth: int = 0) -> Any:
    """``value`` as it may be logged under ``name``; mappings and sequences are searched through."""
    if (
        value is not None
        and not isinstance(value, bool)
        and _is_secret_name(name)
        and not _is_harmless_name(name)
    ):
        return REDACTED
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping) and depth < _MAX_DEPTH:
        return {str(key): redact(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)) and depth < _MAX_DEPTH:
        return [redact(name, item, depth + 1) for item in value]
    return redact_text(str(value))
