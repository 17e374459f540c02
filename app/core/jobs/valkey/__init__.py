"""The broker on Valkey Streams. Another one gets a room of its own beside this; what it must do is in ``JobBroker``."""

from app.core.jobs.valkey._broker import ValkeyBroker

__all__ = ["ValkeyBroker"]
