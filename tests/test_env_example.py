"""`.env.example` names every setting with its meaning and default."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode

from app.settings import Settings

EXAMPLE = Path(__file__).parents[1] / ".env.example"
HEADER = "# Every setting with its default. Copy to .env and uncomment what differs; `make run` needs none of it.\n"


def render() -> str:
    """The file as the settings would write it."""
    return HEADER + "".join(f"\n# {text}\n# {name}={default}\n" for name, text, default in described())


def described() -> Iterator[tuple[str, str, str]]:
    for name, field in Settings.model_fields.items():
        if field.exclude:
            continue
        if isinstance(field.default, BaseModel):
            for inner, part in type(field.default).model_fields.items():
                yield f"{name}__{inner}".upper(), str(part.description), default_of(part)
        else:
            yield name.upper(), str(field.description), default_of(field)


def default_of(field: FieldInfo) -> str:
    value: Any = field.default
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, list):
        texts = [str(item) for item in value]
        return ",".join(texts) if NoDecode in field.metadata else json.dumps(texts)
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_example_says_what_the_settings_say() -> None:
    assert EXAMPLE.read_text() == render()


def test_every_setting_has_a_description() -> None:
    assert [name for name, text, _ in described() if text in {"", "None"}] == []


def test_example_uncommented_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    lines = [line.removeprefix("# ") for line in EXAMPLE.read_text().splitlines() if "=" in line]
    file.write_text("\n".join(lines))
    assert Settings(_env_file=file) == Settings(_env_file=None)


@pytest.mark.parametrize(
    "name", ["DATABASE_URL", "VALKEY_URL", "SECRET_KEY", "CORS__ORIGINS", "TRUSTED_PROXIES"]
)
def test_example_names_the_important_settings(name: str) -> None:
    assert f"# {name}=" in EXAMPLE.read_text()


if __name__ == "__main__":
    EXAMPLE.write_text(render())
