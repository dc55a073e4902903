"""A sweep's name stands for one set of settings: the first start writes them down, later ones are held to them.

Settings that only say which configurations and seeds there are may grow from start to start: what is finished stays as
it is, and what is new is run besides.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from tclap.errors import InputError
from tclap.places import Place, trials_folder, write_atomically

CLAIM = "sweep.json"


def claim_name(
    sweep: Place,
    identity: Mapping[str, Any],
    meant_before: Mapping[str, Any] | None = None,
    may_grow: Collection[str] = (),
) -> None:
    """Bind a sweep's folder to what it is about. Raises InputError as `check_name` does.

    meant_before: settings that are newer than some sweeps, each with the value that those had without naming it.
    may_grow: the settings that may be others at every start; of lists, the file keeps all members that ever were.
    """
    claimed = check_name(sweep, identity, meant_before, may_grow)
    if claimed is None:
        write_atomically(sweep / CLAIM, json.dumps(identity, indent=1))
        return
    grown = {name: _together(claimed.get(name), identity[name]) for name in may_grow if name in identity}
    if any(claimed.get(name) != value for name, value in grown.items()):
        write_atomically(sweep / CLAIM, json.dumps({**claimed, **grown}, indent=1))


def check_name(
    sweep: Place,
    identity: Mapping[str, Any],
    meant_before: Mapping[str, Any] | None = None,
    may_grow: Collection[str] = (),
    unknown: Collection[str] = (),
) -> dict[str, Any] | None:
    """What the sweep's folder is bound to, None if it is free.

    unknown: what cannot be compared, since this start does not know it yet. Raises InputError if a setting that would
    change finished numbers is another one than before.
    """
    written = read_claim(sweep)
    if written is None:
        return None
    claimed: dict[str, Any] = {**(meant_before or {}), **written}
    changes = differences(*(_without(side, {*may_grow, *unknown}) for side in (claimed, identity)))
    if changes:
        growing = f"; {', '.join(sorted(may_grow))} may be others under one name" if may_grow else ""
        raise InputError(
            f"the name {sweep.name} stands for another sweep in {sweep.parent}: {changes}; choose another --name, or "
            f"the settings of before{growing}"
        )
    return claimed


def read_claim(sweep: Place) -> dict[str, Any] | None:
    """What is written of the settings that a sweep's folder is bound to, None if it is free.

    Raises InputError, naming the file, if it cannot be read.
    """
    path = sweep / CLAIM
    try:
        if not path.exists():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise TypeError(f"a {type(found).__name__}")
        return found
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged: it says which settings the name {path.parent.name} stands for; put a copy in its "
            "place, or delete it if the settings are those of before"
        ) from error


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


def _without(settings: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


def _together(before: Any, now: Any) -> Any:
    if isinstance(before, list) and isinstance(now, list):
        return [*before, *(value for value in now if value not in before)]
    return now
