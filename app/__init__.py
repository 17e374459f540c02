"""Gatehouse: a FastAPI service skeleton in which every endpoint is gated by one declarative object."""
