"""SynCaps, the synthetic set of Oncescu et al., "Dissecting Temporal Understanding in Text-to-Audio Retrieval" (2024).

https://github.com/oncescuandreea/DTU_text_audio, folder `retrieval/data/SynCaps/json_files` (CC BY-NC 4.0): two ESC-50
clips one after the other, said with before, after, then, followed by or preceded by. `test.json` holds the captions,
`test_reverse.json` the same with the two sounds exchanged,

    {"num_captions_per_audio": 1, "data": [{"caption": "...", "id": "....wav", "audio": "/their/path", ...}, ...]}

The sounds are made from ESC-50 by the repository's `retrieval/tools/syncaps_gen.py`, which writes them to
`joint_audios/`. The repository's files for AudioCaps (`test_audioset_5_future_past.json`) and Clotho, which have
`caption_1` to `caption_5`, are read, too, if their `_reverse.json` lies beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tclap.errors import InputError
from tclap.evaluation.suites.items import Item, Suite, checked, read_json, sound

CAPTIONS, REVERSED = "test.json", "_reverse"
SOUNDS = ("joint_audios", "audio")


def read(path: Path) -> Suite:
    """The suite of a folder with `test.json` and `test_reverse.json`, or of another json beside its `_reverse.json`.

    Raises InputError: a file is missing or has another format, the two name other sounds, sounds are missing.
    """
    file = path / CAPTIONS if path.is_dir() else path
    reverse = file.with_name(f"{file.stem}{REVERSED}{file.suffix}")
    right, wrong = _captions(file), _captions(reverse)
    if [(name, len(texts)) for name, texts in right.items()] != [(name, len(texts)) for name, texts in wrong.items()]:
        raise InputError(f"{file.name} and {reverse.name} in {file.parent} do not name the same sounds and captions")
    folders = (*(file.parent / name for name in SOUNDS), file.parent)
    items, same = [], 0
    for name, captions in right.items():
        for number, (caption, turned) in enumerate(zip(captions, wrong[name], strict=True), start=1):
            same += caption == turned
            if caption != turned:
                items.append(Item(sound(name, folders), caption, (turned,), f"{name} {number}", name))
    return checked("dtu", file, items, [f"{same} caption(s) left out: the same when reversed"] if same else [])


def _captions(file: Path) -> dict[str, list[str]]:
    """Name of each sound -> its captions."""
    data = read_json(file, "captions of SynCaps").get("data")
    if not isinstance(data, list):
        raise InputError(f'{file} is not in the format of SynCaps: it has no list "data"')
    return dict(_entry(file, entry) for entry in data)


def _entry(file: Path, entry: Any) -> tuple[str, list[str]]:
    try:
        name = str(entry["id"]) if "id" in entry else Path(entry["audio"]).name
        keys = sorted(key for key in entry if key == "caption" or key.startswith("caption_"))
        captions = [entry[key].strip() for key in keys]
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f'{file}: each entry of "data" needs a "caption" and an "id" or "audio"') from error
    if not captions:
        raise InputError(f'{file}: {name} has no "caption"')
    return name, captions
