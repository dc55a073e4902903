"""ZSTE order by MTEB's own protocol, in the environment where mteb is: it scores what `tclap order` scores."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).parents[2]
# mteb needs numpy 2, which tclap's msclap does not take: python -m venv .mteb && .mteb/bin/pip install mteb soundfile
MTEB = Path(os.environ.get("TCLAP_MTEB_PYTHON", ROOT / ".mteb" / "bin" / "python"))
RATE_HZ = 16_000
TINY = """
import numpy as np
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder

class Pitch(AbsEncoder):
    def __init__(self):
        self.mteb_model_meta = ModelMeta.create_empty({"name": "tiny/pitch", "modalities": ["audio", "text"]})

    def encode(self, inputs, *, task_metadata, hf_split, hf_subset, prompt_type=None, **kwargs):
        rows = []
        for batch in inputs:
            if "audio" in batch:
                rows += [self.hear(np.array(one["array"]), one["sampling_rate"]) for one in batch["audio"]]
            else:
                rows += [self.read(text) for text in batch["text"]]
        return np.array(rows, np.float32)

    def hear(self, wave, rate_hz):
        peaks_hz = [np.abs(np.fft.rfft(part)).argmax() * rate_hz / len(part) for part in np.array_split(wave, 3)]
        return np.where(np.array(peaks_hz) > 1000, 1.0, -1.0)

    def read(self, text):
        first, last = (1.0 if "beep" in part else -1.0 for part in text.split(" before "))
        return [first, 0.0, last]

class Backwards(Pitch):
    def hear(self, wave, rate_hz):
        return super().hear(wave[::-1], rate_hz)
"""


def write_items(folder: Path) -> None:
    folder.mkdir()
    t = np.arange(RATE_HZ) / RATE_HZ
    sounds = {"low hum": np.sin(2 * np.pi * 200 * t), "high beep": np.sin(2 * np.pi * 2000 * t)}
    rows = []
    for n in range(6):
        first, second = sorted(sounds, reverse=bool(n % 2))
        soundfile.write(folder / f"{n}.wav", 0.05 * (1 + n) * np.concatenate([sounds[first], sounds[second]]), RATE_HZ)
        rows.append([f"{n}.wav", f"{first} before {second}", f"{second} before {first}"])
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["audio", "right", "wrong"], *rows])


@pytest.mark.slow
@pytest.mark.skipif(
    not MTEB.exists(), reason=f"mteb is not here: {MTEB} (or TCLAP_MTEB_PYTHON) is no Python that has it"
)
@pytest.mark.parametrize(("model", "accuracy"), [("Pitch", 1.0), ("Backwards", 0.0)])
def test_mteb_scores_the_order(model: str, accuracy: float, tmp_path: Path) -> None:
    write_items(tmp_path / "items")
    (tmp_path / "tiny.py").write_text(TINY)
    command = [str(MTEB), str(ROOT / "examples" / "mteb_task.py"), "items", f"tiny:{model}"]
    environment = {**os.environ, "PYTHONPATH": "", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "task": "ZSTEOrder",
        "main_score": accuracy,
        "accuracy": accuracy,
    }
