"""Flags from the environment: TCLAP_SEEDS takes what --seeds takes."""

from __future__ import annotations

import json
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource


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
