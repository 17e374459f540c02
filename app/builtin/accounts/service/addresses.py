"""Which e-mail addresses are taken from callers."""

from app.builtin.accounts.service.administration import _checked_email as checked_email

__all__ = ["checked_email"]
