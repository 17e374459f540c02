"""``app keys rotate`` in a process of its own, with one more model: ``python -m tests.cli.rotating keys rotate``."""

from importlib import import_module
from typing import Any

from app.cli import main
from app.registry import Feature
from tests.core.db.patients import Patient

if __name__ == "__main__":
    keys: Any = import_module("app.cli._keys")
    models: Any = (Patient,)
    keys.FEATURES = (Feature(name="wards", models=models),)
    main()
