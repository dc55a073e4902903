"""How a sweep script's flags are read: from its command line, and TCLAP_SEEDS takes what --seeds takes."""

from __future__ import annotations

import json
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict


class Environment(EnvSettingsSource):
    """pydantic's reading of the environment, but a list may be `0,1,2` as on the command line, not only `[0, 1, 2]`."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """A JSON list as it is; anything else is split at its commas, and the field's own type looks at the parts."""
        text = str(value).strip()
        if text.startswith("["):
            try:
                return json.loads(text)
            except ValueError:
                text = text.strip("[]")
        return [part.strip() for part in text.split(",")] if text else []


class ScriptSettings(BaseSettings):
    """Base of the flags of every script in sweeps/: each may also be set as TCLAP_<FLAG> in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="TCLAP_",
        env_ignore_empty=True,  # compose files set a variable that is not given to nothing
        extra="forbid",
        frozen=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, Environment(settings_cls), dotenv_settings, file_secret_settings
