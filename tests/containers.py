"""What the container files say, for the tests of them."""

import re
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SECRETS = {
    "SECRET_KEY": "s" * 32, "ENCRYPTION_KEYS": "e" * 44, "METRICS__TOKEN": "m" * 32,
    "POSTGRES_PASSWORD": "p", "VALKEY_PASSWORD": "v", "GRAFANA_PASSWORD": "g",
}  # fmt: skip
"""What compose asks for."""


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def interpolate(text: str, values: Mapping[str, str]) -> str:
    """What compose makes of ``${NAME:-default}`` and ``${NAME:?message}``."""

    def replace(match: re.Match[str]) -> str:
        name, operator, rest = match.group(1), match.group(2), match.group(3)
        if values.get(name):
            return values[name]
        assert operator == ":-", f"{name} is required"
        return rest

    return re.sub(r"\$\{([A-Z_]+)(?:(:-|:\?)([^}]*))?\}", replace, text).replace("$$", "$")


def instruction(name: str) -> str:
    """The last such instruction of the Dockerfile, its continuation lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    found: list[str] = re.findall(rf"^{name}\s+(.*)$", text, re.MULTILINE)
    return found[-1].strip()


def is_in_context(path: str) -> bool:
    """Whether a path reaches the builder: the last line of .dockerignore that matches decides."""
    taken = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if (
            line
            and not line.startswith("#")
            and (
                fnmatch(path, pattern) or path.startswith(pattern + "/") or fnmatch(Path(path).name, pattern)
            )
        ):
            taken = line.startswith("!")
    return taken


def environment_of_the_api() -> dict[str, str]:
    listed: Mapping[str, str] = services()["api"]["environment"]
    return {name: interpolate(str(value), SECRETS) for name, value in listed.items()}
