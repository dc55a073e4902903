"""AudioTime's ordering subset (Xie et al., "AudioTime", 2024): two sounds in a known order, with their times.

https://github.com/zeyuxie29/AudioTime: `test500_ordering/` holds `audio/syn_1.wav` ... and `ordering_captions.json`,

    {"syn_1": {"event": {"Buzzer": [[0.871, 1.637]], "Busy signal": [[4.32, 5.297], ...]}, "caption": "A buzzer ..."}}

It was made to evaluate generation, so it has no wrong captions, and those written by GPT cannot be turned round by
rule. Both captions of an item are therefore made here from the names of its two events, "{i} before {j}" and
"{j} before {i}", in which a name ends at its first comma ("Vehicle horn, car horn, honking": "vehicle horn").
"""

from __future__ import annotations

from pathlib import Path

from tclap.data.captions import before, spoken
from tclap.errors import InputError
from tclap.evaluation.suites.items import Item, Suite, checked, only_file, read_json, sound

FILES = ("*ordering_caption*.json", "*ordering*/*ordering_caption*.json", "**/*ordering_caption*.json")


def read(path: Path) -> Suite:
    """The suite of a folder with the subset, or of its json.

    Left out, and counted in the notes: entries whose two events do not follow one another (the first has ended when
    the second starts). Raises InputError: no such file, another format, missing sounds.
    """
    file = only_file(path, FILES, "ordering captions of AudioTime") if path.is_dir() else path
    entries = read_json(file, "AudioTime's ordering captions")
    folders = (file.parent / "audio", file.parent)
    items = []
    for name, entry in entries.items():
        try:
            spans = {
                event: (min(s for s, _ in times), max(e for _, e in times)) for event, times in entry["event"].items()
            }
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise InputError(f'{file}: {name} has no "event": {{name: [[start, end], ...]}}') from error
        ordered = sorted(spans, key=lambda event: spans[event])
        if len(ordered) != 2 or spans[ordered[0]][1] > spans[ordered[1]][0]:
            continue
        first, second = (spoken(event.split(",")[0]) for event in ordered)
        if first != second:
            right, wrong = before(first, second), before(second, first)
            items.append(Item(sound(f"{name}.wav", folders), right, (wrong,), name, name))
    notes = ["captions are made from the names of the events; AudioTime has no wrong ones"]
    if len(items) < len(entries):
        notes.append(f"{len(entries) - len(items)} of {len(entries)} entries left out: not one event after the other")
    return checked("audiotime", file, items, notes)
