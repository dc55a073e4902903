"""Retrieval against a slow implementation that tries every order of the tied, and end to end in both layouts."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tclap.data.captions import words
from tclap.data.synth import RECIPES, synthesise
from tclap.errors import InputError
from tclap.evaluation.captioned import Captioned, find_clips, read_captions
from tclap.evaluation.retrieval import ranked_credit, retrieve, score_retrieval
from tclap.models.mini import Mini

CAPTIONS = Path("/work/shared/data/captions")
FILES = {"audiocaps": "audiocaps_test.csv", "clotho": "clotho_captions_evaluation.csv"}


def slow_credit(scores: list[float], right: set[int]) -> dict[str, float]:
    """Plain R@k and AP@10, averaged over every order that sorts the scores."""
    groups = [[i for i, s in enumerate(scores) if s == value] for value in sorted(set(scores), reverse=True)]
    totals = {"r1": 0.0, "r5": 0.0, "r10": 0.0, "map10": 0.0}
    orders = [sum(parts, ()) for parts in itertools.product(*(itertools.permutations(g) for g in groups))]
    for order in orders:
        ranks = [rank for rank, i in enumerate(order, start=1) if i in right]
        for k in (1, 5, 10):
            totals[f"r{k}"] += min(ranks) <= k
        hits = [(found + 1) / rank for found, rank in enumerate(ranks) if rank <= 10]
        totals["map10"] += sum(hits) / min(len(right), 10)
    return {name: total / len(orders) for name, total in totals.items()}


@pytest.mark.parametrize("seed", range(40))
def test_credit_is_the_mean_over_every_order_of_the_tied(seed: int) -> None:
    rng = np.random.default_rng(seed)
    candidates = int(rng.integers(3, 15))
    levels = max(2, candidates - 3) if candidates > 7 else int(rng.integers(1, candidates + 1))
    similarity = rng.integers(0, levels, (1, candidates)) / 8
    while np.unique(similarity, return_counts=True)[1].max() > 6:
        similarity = rng.integers(0, levels, (1, candidates)) / 8
    right = rng.permutation(candidates)[: rng.integers(1, min(6, candidates + 1))]
    padded = np.full((1, 6), -1)
    padded[0, : len(right)] = right
    expected = slow_credit(similarity[0].tolist(), set(right.tolist()))
    got = {name: float(credit[0]) for name, credit in ranked_credit(similarity, padded).items()}
    assert got == pytest.approx(expected, abs=1e-9)


def test_without_ties_it_is_what_the_benchmarks_print() -> None:
    """As LAION's evaluation computes it: 5 captions a clip, the best of them for A->T, /5 in mAP@10."""
    rng = np.random.default_rng(0)
    n = 40
    audio = rng.standard_normal((n, 8))
    text = np.repeat(audio, 5, axis=0) + 1.5 * rng.standard_normal((5 * n, 8))
    audio, text = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (audio, text))
    got = score_retrieval(audio, text, np.repeat(np.arange(n), 5))
    ranks_t2a = np.array([np.argsort(-(text[q] @ audio.T)).tolist().index(q // 5) for q in range(5 * n)])
    best, precision = [], []
    for clip in range(n):
        order = np.argsort(-(audio[clip] @ text.T)).tolist()
        ranks = np.sort([order.index(5 * clip + i) for i in range(5)])
        best.append(ranks[0])
        inside = ranks[ranks < 10]
        precision.append((np.arange(1, len(inside) + 1) / (inside + 1)).sum() / 5)
    for k in (1, 5, 10):
        assert got[f"t2a_r{k}"].value == pytest.approx(100 * (ranks_t2a < k).mean())
        assert got[f"a2t_r{k}"].value == pytest.approx(100 * (np.array(best) < k).mean())
    assert got["t2a_map10"].value == pytest.approx(100 * ((ranks_t2a < 10) / (ranks_t2a + 1)).mean())
    assert got["a2t_map10"].value == pytest.approx(100 * np.mean(precision))
    for name, score in got.items():
        assert score.low <= score.value <= score.high
        assert score.n == (5 * n if name.startswith("t2a") else n)


def test_a_constant_model_scores_chance() -> None:
    audio, text = np.ones((30, 1)), np.ones((150, 1))
    for name, score in score_retrieval(audio, text, np.repeat(np.arange(30), 5)).items():
        assert score.value == pytest.approx(score.chance)
        if name == "t2a_r5":
            assert score.chance == pytest.approx(100 * 5 / 30)
        if name == "a2t_r1":
            assert score.chance == pytest.approx(100 * 5 / 150)


def test_a_perfect_model_scores_100_and_clips_may_differ_in_captions() -> None:
    clip_of = np.array([0, 0, 0, 1, 2, 2])
    for score in score_retrieval(np.eye(3), np.eye(3)[clip_of], clip_of).values():
        assert (score.value, score.high) == (100, 100)
        assert 5 < score.low < 100  # three clips do not prove that all are right


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        score_retrieval(np.full((2, 2), np.nan), np.eye(2), np.arange(2))


@pytest.mark.skipif(not CAPTIONS.is_dir(), reason="the benchmarks' captions are not here")
@pytest.mark.parametrize(("layout", "clips"), [("audiocaps", 975), ("clotho", 1045)])
def test_both_layouts_end_to_end(layout: str, clips: int, tmp_path: Path) -> None:
    captioned = read_captions(CAPTIONS / FILES[layout])
    assert len(captioned) == clips
    assert all(len(clip.captions) == 5 for clip in captioned)
    rng = np.random.default_rng(0)
    recipes = list(RECIPES.values())
    for i, clip in enumerate(captioned[:40]):
        name = clip.names[i % len(clip.names)]  # every way of naming an AudioCaps clip
        wave = synthesise(recipes[i % len(recipes)], 1.0, rng)
        wave = wave[: 3000 + 1000 * i]  # some shorter than the window, some longer
        soundfile.write(tmp_path / f"{name}{('.wav', '.flac')[i % 2]}", wave, 16_000)
    found = find_clips(tmp_path, captioned)
    assert (len(found.paths), len(found.missing)) == (40, clips - 40)
    model = Mini(sorted({word for clip in captioned[:40] for text in clip.captions for word in words(text)}))
    with pytest.raises(InputError, match=rf"{clips - 40} of {clips} clips are missing.*--allow-missing"):
        retrieve(model, found)
    result = retrieve(model, found, allow_missing=True)
    assert (result.clips, result.captions, len(result.missing)) == (40, 200, clips - 40)
    assert set(result.scores) == {f"{d}_{m}" for d in ("t2a", "a2t") for m in ("r1", "r5", "r10", "map10")}
    again = retrieve(model, found, allow_missing=True)
    assert again == result


def test_unusable_files_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no sound")
    soundfile.write(tmp_path / "b.wav", np.zeros(100), 16_000)
    soundfile.write(tmp_path / "c.wav", np.resize([0.5, -0.5, 0.5, 0.5], 100), 16_000)
    found = find_clips(tmp_path, [Captioned((name,), ("a sound",)) for name in "abc"])
    with pytest.raises(InputError, match=r"2 unusable file.*a\.wav: unreadable.*b\.wav: silent"):
        retrieve(Mini(["sound"]), found)
    with pytest.raises(InputError, match="1 usable clip"):
        retrieve(Mini(["sound"]), found, allow_missing=True)
    soundfile.write(tmp_path / "d.wav", np.resize([0.5, -0.5, 0.5, 0.5], 3000), 16_000)
    four = find_clips(tmp_path, [Captioned((name,), (f"{name} sound",)) for name in "dabc"])
    result = retrieve(Mini(["sound"]), four, allow_missing=True)
    assert (result.clips, result.captions, result.missing) == (2, 2, ("a", "b"))
    with pytest.raises(InputError, match="at least 2"):
        retrieve(Mini(["sound"]), find_clips(tmp_path, [Captioned(("c",), ("a sound",))]))


@pytest.mark.parametrize("suffix", [".oga", ".aifc", ".au", ".w64", ".caf", ".WAV", ".flac"])
def test_a_clip_may_have_any_suffix_that_is_decoded(suffix: str, tmp_path: Path) -> None:
    written = {".oga": "OGG", ".aifc": "AIFF"}.get(suffix, suffix[1:].upper())
    for n, name in enumerate("ab"):
        wave = synthesise(list(RECIPES.values())[n], 1.0, np.random.default_rng(n))
        soundfile.write(tmp_path / f"{name}{suffix}", wave, 16_000, format=written)
    (tmp_path / "a.mp4").write_bytes(b"the video that it was cut from")
    (tmp_path / "captions.csv").write_text(f"file_name,caption_1\na{suffix},a sound\nb,another sound\n")
    clips = find_clips(tmp_path, read_captions(tmp_path / "captions.csv"))
    assert [path.name for path in clips.paths] == [f"a{suffix}", f"b{suffix}"]
    assert retrieve(Mini(["sound", "another", "a"]), clips).clips == 2


@pytest.mark.parametrize("suffix", [".webm", ".mka", ".m4a", ".raw"])
def test_a_clip_that_has_to_be_converted_first_is_not_said_to_be_missing(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"sound")
    clips = find_clips(tmp_path, [Captioned(("a",), ("a sound",))])
    with pytest.raises(InputError, match=rf"1 unusable file.*a\{suffix}: unreadable .* convert it to wav or flac"):
        retrieve(Mini(["sound"]), clips)


def test_caption_files_that_are_none(tmp_path: Path) -> None:
    csv = tmp_path / "captions.csv"
    with pytest.raises(InputError, match="cannot be read"):
        read_captions(csv)
    pd.DataFrame({"filename": ["a"]}).to_csv(csv, index=False)
    with pytest.raises(InputError, match="has the columns filename"):
        read_captions(csv)
    pd.DataFrame({"file_name": ["a.wav"], "caption_1": [" "]}).to_csv(csv, index=False)
    with pytest.raises(InputError, match="no captions for a"):
        read_captions(csv)
    with pytest.raises(InputError, match="not a folder"):
        find_clips(csv, [])


def test_names_with_dots_keep_them(tmp_path: Path) -> None:
    (tmp_path / "rain no. 2.flac").touch()
    csv = tmp_path / "c.csv"
    pd.DataFrame({"file_name": ["rain no. 2.wav", "rain no. 3"], "caption_1": ["rain", "rain"]}).to_csv(
        csv, index=False
    )
    found = find_clips(tmp_path, read_captions(csv))
    assert [p.name for p in found.paths] == ["rain no. 2.flac"]
    assert found.missing == ("rain no. 3",)
