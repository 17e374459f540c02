"""Advice on indexes: what the server's own plan and statistics say would make a statement faster, and when nothing would."""

from app.core.monitor.advice._advise import advise, advise_over
from app.core.monitor.advice._suggestions import Advice, Rewrite, Suggestion

__all__ = ["Advice", "Rewrite", "Suggestion", "advise", "advise_over"]
