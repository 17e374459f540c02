"""Where settings come from, beside the usual places."""

from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource


class PolicyVariables(PydanticBaseSettingsSource):
    """All variables that begin with ``POLICIES__``, as they stand: which there may be, only the policies know."""

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._sources = [source for source in sources if isinstance(source, EnvSettingsSource)]

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the base's signature
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {
            name.upper(): value
            for source in self._sources
            for name, value in source.env_vars.items()
            if name.upper().startswith("POLICIES__") and value
        }
        return {"policy_variables": found} if found else {}
