"""Small made-up suites in each maker's own format, and models whose scores on them are known beforehand."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from tclap.evaluation.suites.items import Suite

RATE_HZ = 8000
STEP_HZ = 40  # a sound says which file it is by its pitch


def write_sounds(folder: Path, names: Sequence[str], first: int = 0) -> None:
    """One sound a name, of its own pitch; 1 to 4 s long, so that some are longer than a window."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names, start=first):
        t = np.arange(RATE_HZ * (1 + number % 4)) / RATE_HZ
        soundfile.write(folder / name, 0.3 * np.sin(2 * np.pi * STEP_HZ * (number + 2) * t), RATE_HZ)


def write_csv(file: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([header, *rows])
    return file


def compa(folder: Path) -> Path:
    names = [f"{n}{kind}.wav" for n in range(8) for kind in ("", "_rev")]
    write_sounds(folder / "CompA_order_files", names)
    rows = [
        (f"Event {n} before other {n}.", f"Other {n} before event {n}.", "-", f"{n}.wav", f"{n}_rev.wav", "-")
        for n in range(8)
    ]
    header = ["pair_caption", "reversed_pair_caption", "triplet_caption", "pair_file", "reversed_pair_file"]
    write_csv(folder / "CompA_order_benchmark.csv", [*header, "triplet_file"], rows)
    return folder


def audiotime(folder: Path) -> Path:
    subset = folder / "test500_ordering"
    write_sounds(subset / "audio", [f"syn_{n}.wav" for n in range(1, 13)])
    entries = {
        f"syn_{n}": {
            "event": {f"Sound {n}, noise": [[5.0, 6.5], [7.0, 9.0]], f"Other {n}": [[0.5, 4.0]]},
            "caption": [f"Other {n} is heard, followed by sound {n} twice.", "Yes."],
        }
        for n in range(1, 12)
    }
    entries["syn_12"] = {"event": {"Rain": [[0.0, 6.0]], "Thunder": [[2.0, 3.0]]}, "caption": "Thunder in the rain."}
    (subset / "ordering_captions.json").write_text(json.dumps(entries))
    return folder


def dtu(folder: Path) -> Path:
    names = [f"1-{n}-A-0_2-{n}-A-1_future_before_1_12_return_identical_return_identical_False.wav" for n in range(10)]
    write_sounds(folder / "joint_audios", names)
    for file, caption in (("test.json", "Dog {0} before cat {0}"), ("test_reverse.json", "Cat {0} before dog {0}")):
        data = [
            {"caption": caption.format(n), "id": name, "audio": f"/their/disk/{name}", "duration": 10.0}
            for n, name in enumerate(names)
        ]
        (folder / file).write_text(json.dumps({"num_captions_per_audio": 1, "data": data}))
    return folder


def tacos(folder: Path) -> Path:
    names = [f"{n}.wav" for n in range(8)]
    write_sounds(folder / "audio", names)
    rows: list[tuple[object, ...]] = []
    for n, name in enumerate(names):
        rows += [(name, f"A dog {n} barks.", 0.0, 1.0), (name, f"Rain {n} falls.", 1.5, 3.0)]
        if n % 2:
            rows.append((name, f"A door {n} slams.", 3.5, 4.0))
    write_csv(folder / "annotations_strong.csv", ["filename", "text", "onset", "offset"], rows)
    return folder


def plain(folder: Path) -> Path:
    names = [f"{n}.wav" for n in range(12)]
    write_sounds(folder, names)
    rows = [
        (name, f"right {n}", f"wrong {n}", f"other {n}" if n % 3 else "", f"group {n // 3}")
        for n, name in enumerate(names)
    ]
    return write_csv(folder / "items.csv", ["audio", "right", "wrong", "wrong_2", "group"], rows)


MADE_UP: dict[str, Callable[[Path], Path]] = {
    "compa": compa,
    "audiotime": audiotime,
    "dtu": dtu,
    "timed": tacos,
    "plain": plain,
}


class Listener(nn.Module):
    """A ContrastiveModel that knows each sound by its pitch; `vectors` says what it makes of it.

    sounds [S, D], and the vector of each caption.
    """

    name, window_s, sample_rate_hz, padding_value = "listener", 1.0, RATE_HZ, 0.0

    def __init__(self, sounds: Tensor, captions: dict[str, Tensor]) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.sounds, self.captions = sounds, captions

    def audio_frozen(self, wave: Tensor) -> Tensor:
        peak_hz = torch.fft.rfft(wave).abs().argmax(dim=1) * RATE_HZ / wave.shape[1]
        return (peak_hz / STEP_HZ).round().long() - 2  # [B] which sound

    def audio_head(self, features: Tensor) -> Tensor:
        return self.sounds[features]

    def text_frozen(self, texts: Sequence[str]) -> list[Tensor]:
        return [self.captions[text] for text in texts]

    def text_head(self, features: Sequence[Tensor], lengths: Tensor | None = None) -> Tensor:
        return torch.stack(list(features))  # all of one length, so nothing is padded


def oracle(suite: Suite, files: Sequence[Path]) -> Listener:
    """Hears in each sound exactly the captions that are right for it. files: by the number of their pitch."""
    texts = sorted({text for item in suite.items for text in (item.right, *item.wrong)})
    captions = dict(zip(texts, torch.eye(len(texts)), strict=True))
    sounds = torch.zeros(len(files), len(texts))
    place = {file: number for number, file in enumerate(files)}
    for item in suite.items:
        sounds[place[item.audio]] += captions[item.right]
    return Listener(sounds / sounds.norm(dim=1, keepdim=True).clamp_min(1e-9), captions)


def constant(suite: Suite, files: Sequence[Path]) -> Listener:
    """Hears the same in every sound, and reads the same in every caption."""
    one = torch.nn.functional.normalize(torch.ones(3), dim=0)
    texts = {text for item in suite.items for text in (item.right, *item.wrong)}
    return Listener(one.expand(len(files), 3), dict.fromkeys(texts, one))
