"""What uvicorn loads in every process that serves."""

import gc

# As in app/__main__.py, which the processes that `serve` spawns (WORKERS=2 or more) do not run.
gc.set_threshold(50_000, 20, 20)

from app.cli._serve import application  # noqa: E402 - see above

__all__ = ["application"]
