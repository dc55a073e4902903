import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from tclap import features
from tclap.data import compose
from tclap.data import dataset as datasets
from tclap.data.compose import Composites
from tclap.data.dataset import Dataset
from tclap.errors import InputError
from tclap.features import audio_features, text_features
from tclap.models.mini import Mini

Read = Callable[..., np.ndarray]
TEXTS = ["hum", "hum before ticks", "In this concatenated sound, the first sound is hum"]


@pytest.fixture
def some() -> Composites:
    rows = [compose.single(np.array([1, 5])), compose.join(np.array([5]), np.array([1]))]
    return compose.unique_composites(np.concatenate([*rows, compose.overlay(np.array([1]), np.array([5]))]))[0]


@pytest.fixture
def read(mini: Mini, dataset: Dataset, dataset_digest: str, some: Composites, tmp_path: Path) -> Read:
    """Audio features of one small set, with any argument exchanged."""

    def call(**changes: object) -> np.ndarray:
        arguments = {
            "model": mini,
            "dataset": dataset,
            "dataset_digest": dataset_digest,
            "composites": some,
            "cache": tmp_path,
        }
        return audio_features(**(arguments | changes))  # type: ignore[arg-type]

    return call


def refuse(*args: object, **kwargs: object) -> None:
    raise AssertionError("computed instead of read")


def sets(cache: Path) -> list[str]:
    return sorted(p.name for p in (cache / "features").iterdir() if p.is_dir())


def test_are_the_model_s_own(read: Read, mini: Mini, dataset: Dataset, some: Composites) -> None:
    got = read()
    bank = compose.load_events(dataset, some, mini.window_s, mini.sample_rate_hz)
    expected = mini.audio_frozen(torch.from_numpy(compose.render(bank, some, 0, len(some)))).numpy()
    assert isinstance(got, np.memmap)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, expected.astype(np.float16))


@pytest.mark.parametrize("scale", [7e4, -7e4])
def test_features_that_float16_cannot_hold_are_refused_and_not_made_infinite(
    read: Read, mini: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    monkeypatch.setattr(mini, "audio_frozen", lambda wave: wave.unfold(1, 400, 400).abs().amax(1) * 0 + scale)
    with pytest.raises(InputError, match=r"^mini: audio_frozen gives features up to 7e\+04, .* take their logarithm"):
        read()
    assert sets(tmp_path) == []


def test_features_that_are_not_finite_in_float32_either_are_left_to_the_loss(
    read: Read, mini: Mini, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = torch.tensor([1.0, float("inf"), float("nan"), 65504.0])
    monkeypatch.setattr(mini, "audio_frozen", lambda wave: odd.repeat(len(wave), 1))
    np.testing.assert_array_equal(read()[0], odd.numpy())


def test_rendering_in_parts_changes_nothing(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read()
    monkeypatch.setattr(features, "CHUNK", 3)
    np.testing.assert_allclose(read(cache=tmp_path / "parts"), whole, atol=1e-5)


def test_a_second_call_reads(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = np.array(read())
    monkeypatch.setattr(features, "load_events", refuse)
    np.testing.assert_array_equal(read(), first)
    with pytest.raises(AssertionError, match="computed instead of read"):
        read(cache=tmp_path / "other")


def test_a_second_model_with_the_same_frozen_half_reads(
    read: Read, mini: Mini, monkeypatch: pytest.MonkeyPatch
) -> None:
    read()
    monkeypatch.setattr(features, "load_events", refuse)
    read(model=Mini(mini.vocabulary, init_seed=5))


def test_other_content_is_another_set(read: Read, mini: Mini, some: Composites, tmp_path: Path) -> None:
    read()
    assert len(sets(tmp_path)) == 1
    fewer = Composites(some.rows()[:-1])
    wider = Mini(mini.vocabulary)
    wider.window_s = 3.0
    faster = Mini(mini.vocabulary)
    faster.sample_rate_hz = 22_050
    for n, changes in enumerate(
        (
            {"composites": fewer},
            {"dataset_digest": "0" * 64},
            {"model": Mini((*mini.vocabulary, "more"))},
            {"model": wider},
            {"model": faster},
        )
    ):
        read(**changes)
        assert len(sets(tmp_path)) == n + 2


def test_the_order_of_composites_is_part_of_the_set(read: Read, some: Composites) -> None:
    back = Composites(some.rows()[::-1])
    np.testing.assert_allclose(read(composites=back), read()[::-1], atol=1e-5)


def test_concurrent_callers_compute_once(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    together = threading.Barrier(4)
    real = features.load_events

    def slow(*args: object, **kwargs: object) -> object:
        calls.append(args)
        time.sleep(0.2)  # long enough for the others to find nothing yet
        return real(*args, **kwargs)  # type: ignore[arg-type]

    def caller(_: int) -> np.ndarray:
        together.wait()
        return np.array(read())

    monkeypatch.setattr(features, "load_events", slow)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(caller, range(4)))
    assert len(calls) == 1
    assert all(np.array_equal(result, results[0]) for result in results)
    assert len(sets(tmp_path)) == 1


def test_an_interrupted_extraction_goes_on_where_it_stopped(
    read: Read, mini: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe, then chunk 0, then a failure in chunk 1: the next call computes chunk 1 alone."""
    undisturbed = np.array(read(cache=tmp_path / "undisturbed"))
    monkeypatch.setattr(features, "CHUNK", 2)
    real, calls = mini.audio_frozen, []

    def fails_in_third(wave: torch.Tensor) -> torch.Tensor:
        calls.append(len(wave))
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return real(wave)

    monkeypatch.setattr(mini, "audio_frozen", fails_in_third)
    with pytest.raises(RuntimeError, match="out of memory"):
        read()
    assert not any(path.suffix == "" for path in (tmp_path / "features").iterdir())
    monkeypatch.setattr(features, "load_events", refuse)
    np.testing.assert_array_equal(read(), undisturbed)
    assert calls == [1, 2, 2, 2]
    assert len(sets(tmp_path)) == 1


def test_a_kill_while_a_set_is_put_in_its_place_leaves_no_zeros(
    read: Read, mini: Mini, dataset: Dataset, dataset_digest: str, some: Composites, tmp_path: Path
) -> None:
    """Its markers say that every chunk is there, and its rows have left the folder."""
    undisturbed = np.array(read(cache=tmp_path / "undisturbed"))
    extraction = features.audio_extraction(mini, dataset, dataset_digest, some, tmp_path)
    features.start_extraction(extraction, mini, dataset)
    features.compute_chunk(extraction, mini, 0)
    assert extraction.pending() == []
    (extraction.folder / "audio.npy").unlink()
    np.testing.assert_array_equal(read(), undisturbed)


def test_putting_a_set_in_its_place_can_be_done_again(
    mini: Mini, dataset: Dataset, dataset_digest: str, some: Composites, tmp_path: Path
) -> None:
    """A kill may come between the set and the end of what it was made from."""
    extraction = features.audio_extraction(mini, dataset, dataset_digest, some, tmp_path)
    features.start_extraction(extraction, mini, dataset)
    with pytest.raises(RuntimeError, match=r"lacks the chunks \[0\]"):
        features.finish_extraction(extraction)
    features.compute_chunk(extraction, mini, 0)
    shutil.copytree(extraction.folder, tmp_path / "kept")
    features.finish_extraction(extraction)
    shutil.move(tmp_path / "kept", extraction.folder)
    features.finish_extraction(extraction)
    assert sets(tmp_path) == [extraction.place.name]


def test_unusable_clips_are_named(read: Read, root: Path, tmp_path: Path) -> None:
    data = datasets.read_index(shutil.copytree(root, tmp_path / "bad"))
    for clip in (1, 5):
        data.path(clip).unlink()
    with pytest.raises(InputError) as caught:
        read(dataset=data)
    assert all(data.filenames[clip] in str(caught.value) for clip in (1, 5))
    assert sets(tmp_path) == []


def test_texts_are_padded_to_the_longest_that_is_taken(mini: Mini, tmp_path: Path) -> None:
    kept = text_features(mini, [*TEXTS, TEXTS[0]], tmp_path)
    assert kept.padded.shape == (3, 9)
    for text in TEXTS:
        own, lengths = kept.take(kept.rows([text]))
        assert own.equal(mini.text_frozen([text])[0][None])
        assert lengths.tolist() == [own.shape[1]]
    taken, lengths = kept.take(kept.rows(TEXTS[:2]))
    assert lengths.tolist() == [1, 3]
    assert taken.shape == (2, 3)
    assert taken[0, 1:].tolist() == [mini.padding_value] * 2
    assert kept.to("meta").take(kept.rows(TEXTS))[0].device.type == "meta"


def test_audio_goes_to_a_gpu_that_has_room_and_says_so(read: Read) -> None:
    audio, said = read(), []
    need = audio.nbytes

    def ask(free: int) -> np.ndarray | torch.Tensor:
        return features.on_device(audio, "meta", said.append, lambda device: free)

    assert features.on_device(audio, "cpu", said.append) is audio
    assert said == []
    assert ask(2 * need - 2) is audio
    assert "stay in their file: meta has" in said[-1]
    there = ask(2 * need)
    assert isinstance(there, torch.Tensor)
    assert (there.device.type, there.shape, there.dtype) == ("meta", audio.shape, torch.float16)
    assert said[-1].endswith("are on meta")


def test_windows_are_the_same_from_a_file_and_from_a_tensor(read: Read) -> None:
    audio, rows = read(), np.array([2, 0, 2])
    from_file = features.windows_of(audio, rows, "cpu")
    assert from_file.equal(torch.from_numpy(audio[rows]))
    assert features.windows_of(torch.from_numpy(np.array(audio)), rows, "cpu").equal(from_file)


def test_texts_are_read_the_second_time(mini: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = text_features(mini, TEXTS, tmp_path)
    monkeypatch.setattr(mini, "text_frozen", refuse)
    again = text_features(mini, TEXTS[::-1], tmp_path)  # a set of texts has no order
    assert again.row_of == first.row_of
    assert again.padded.equal(first.padded)
    assert again.lengths.equal(first.lengths)
    with pytest.raises(AssertionError, match="computed instead of read"):
        text_features(mini, TEXTS[:2], tmp_path)


@pytest.mark.parametrize("damage", [lambda whole: whole[:-1], lambda whole: b"", lambda whole: b"\0" * len(whole)])
@pytest.mark.parametrize("file", ["audio.npy", "values.npy", "offsets.npy"])
def test_a_damaged_set_is_named_with_what_mends_it(
    read: Read, mini: Mini, tmp_path: Path, file: str, damage: Callable[[bytes], bytes]
) -> None:
    def read_both() -> tuple[np.ndarray, torch.Tensor]:
        return np.array(read()), text_features(mini, TEXTS, tmp_path).padded

    audio, texts = read_both()
    (path,) = tmp_path.glob(f"features/*/{file}")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=f"{file} cannot be read.*: remove the folder {path.parent}"):
        read_both()
    shutil.rmtree(path.parent)
    again = read_both()
    np.testing.assert_array_equal(again[0], audio)
    torch.testing.assert_close(again[1], texts, rtol=0, atol=0)


def test_a_text_that_was_not_asked_for_is_an_error(mini: Mini, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="xylophone"):
        text_features(mini, TEXTS, tmp_path).rows(["xylophone"])


def test_set_that_does_not_fit_on_the_disk_is_refused_before_it_is_started(
    read: Read, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(InputError, match=r"partial needs \d+ MB for frozen features, and its disk has 0 MB free"):
        read()
    assert not list(tmp_path.rglob("*.npy"))


def test_room_for_a_set_is_taken_before_it_is_filled(
    mini: Mini, dataset: Dataset, dataset_digest: str, some: Composites, tmp_path: Path
) -> None:
    extraction = features.audio_extraction(mini, dataset, dataset_digest, some, tmp_path)
    size = features.start_extraction(extraction, mini, dataset)
    laid_out = (extraction.folder / "audio.npy").stat()
    assert laid_out.st_blocks * 512 >= laid_out.st_size >= size
