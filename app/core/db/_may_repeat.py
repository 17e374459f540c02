"""How a statement says that it is meant to run often."""

from typing import Final

MAY_REPEAT: Final = "may_repeat"
"""Execution option of a statement that is meant to run often: ``statement.execution_options(may_repeat=True)``."""
