"""A sweep's name stands for one set of settings: the first start writes them down, later ones are held to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tclap.errors import InputError
from tclap.places import Place, trials_folder, write_atomically

CLAIM = "sweep.json"


def claim_name(sweep: Place, identity: Mapping[str, Any], meant_before: Mapping[str, Any] | None = None) -> None:
    """Bind a sweep's folder to what it is about. Raises InputError if the name stands for something else.

    meant_before: settings that are newer than some sweeps, each with the value that those had without naming it.
    """
    path = sweep / CLAIM
    if not path.exists():
        write_atomically(path, json.dumps(identity, indent=1))
        return
    claimed = {**(meant_before or {}), **json.loads(path.read_text(encoding="utf-8"))}
    changes = differences(claimed, identity)
    if changes:
        raise InputError(
            f"the name {sweep.name} stands for another sweep in {sweep.parent}: {changes}; choose another --name, or "
            "the settings of before"
        )


def give_back(sweep: Place) -> None:
    """Unbind a name under which no job has begun: what was refused may be put right under the same name."""
    if not trials_folder(sweep).exists():
        (sweep / CLAIM).unlink(missing_ok=True)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """ "lr was 0.001, now 0.01; ..." for every key whose value differs; "" if none does."""
    missing = "(not set)"
    return "; ".join(
        f"{key} was {before.get(key, missing)}, now {now.get(key, missing)}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key, missing) != now.get(key, missing)
    )
