"""Storage at an s3:// URL: whole or not there, one copy for all nodes, and clear errors. The server is moto's."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tclap.cache import fetch, node_cache, publish, published_dataset
from tclap.config import DataSettings, ModelSettings, OptimiserSettings
from tclap.data.compose import single, unique_composites
from tclap.errors import InputError
from tclap.evaluation.statistics import Score
from tclap.features import audio_features, text_features
from tclap.flags import SweepSettings
from tclap.places import (
    at,
    check_writable,
    fetched,
    local_folder,
    staged,
    stop_file,
    stop_requested,
)
from tclap.sweep.claim import claim_name
from tclap.sweep.ledger import Result, read_result, write_result
from tclap.training import checkpoint
from tclap.training.base import base_checkpoint


@pytest.fixture
def storage(bucket, request):
    """A prefix of the bucket for one test."""
    return at(f"{bucket}/{request.node.name}")


@pytest.fixture
def nodes(storage, tmp_path):
    """The caches of two nodes."""
    return node_cache(tmp_path / "one", storage), node_cache(tmp_path / "two", storage)


def test_result_name_and_stop_of_a_sweep(storage):
    folder = storage / "trials" / "abc" / "seed-0"
    result = Result("abc", 0, {"1": Score(50, 40, 60, 12, 16)}, 1.5, 4, "host", "run")
    assert read_result(folder) is None
    write_result(folder, result)
    assert read_result(folder) == result
    claim_name(storage, {"lr": 1})
    claim_name(storage, {"lr": 1})
    with pytest.raises(InputError, match=f"{storage.name} stands for another sweep.* lr was 1, now 2"):
        claim_name(storage, {"lr": 2})
    stop_file(storage).unlink(missing_ok=True)
    assert not stop_requested(storage)
    stop_file(storage).touch()
    assert stop_requested(storage)


def test_checkpoint_goes_there_and_back(storage, mini):
    place = storage / "seed-0"
    with staged(place) as folder:
        checkpoint.save(folder / "checkpoint", mini, {})
        assert not (place / "checkpoint").exists()
    with fetched(place / "checkpoint") as folder:
        assert checkpoint.load(folder).fingerprint() == mini.fingerprint()
    assert not folder.exists()


def test_a_local_folder_is_used_as_it_is(tmp_path):
    with staged(at(str(tmp_path / "made"))) as folder:
        assert folder == tmp_path / "made"
    with fetched(folder) as same:
        assert same == folder
    assert local_folder(at("runs")) == Path("runs")


def test_what_one_node_makes_the_others_fetch(nodes, dataset, dataset_digest, mini, monkeypatch):
    """Base model, audio and text features: made once, and equal on a second node that computes nothing."""
    one, two = nodes
    clips, _ = unique_composites(single(dataset.clips_in((4,))))
    settings = ModelSettings(base=OptimiserSettings(steps=2))
    made = base_checkpoint(dataset, dataset_digest, DataSettings(), settings, one)
    audio = audio_features(mini, dataset, dataset_digest, clips, one)
    text = text_features(mini, ["a dog"], one)

    def refuse(*_args, **_kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr("tclap.training.base.StageRun", refuse)
    monkeypatch.setattr("tclap.features._frozen", refuse)
    monkeypatch.setattr(mini, "text_frozen", refuse)
    again = base_checkpoint(dataset, dataset_digest, DataSettings(), settings, two)
    assert again.is_relative_to(two)
    for name in (checkpoint.TENSORS, checkpoint.CONFIG):
        assert (again / name).read_bytes() == (made / name).read_bytes()
    np.testing.assert_array_equal(audio_features(mini, dataset, dataset_digest, clips, two), audio)
    assert text_features(mini, ["a dog"], two).padded.equal(text.padded)


def test_dataset_is_published_by_its_digest(nodes, root):
    one, two = nodes
    publish(published_dataset(one, "digest"), source=root)
    place = published_dataset(two, "digest")
    assert fetch(place)
    names = [path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file()]
    assert len(names) == 62
    assert all((place / name).read_bytes() == (root / name).read_bytes() for name in names)


def test_many_processes_may_fetch_at_once(nodes):
    place, elsewhere = (node / "features" / "key" for node in nodes)
    place.mkdir(parents=True)
    (place / "audio.npy").write_bytes(os.urandom(100_000))
    publish(place)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(fetch, [elsewhere] * 4))
    assert (elsewhere / "audio.npy").read_bytes() == (place / "audio.npy").read_bytes()
    assert [path.name for path in elsewhere.parent.iterdir()] == ["key"]  # and no scratch


def test_a_failed_upload_leaves_nothing(nodes, storage, monkeypatch):
    place, elsewhere = (node / "features" / "key" for node in nodes)
    place.mkdir(parents=True)
    (place / "audio.npy").write_bytes(b"1234")

    def fail(*_args, **_kwargs):
        raise OSError("the network is gone")

    with monkeypatch.context() as patch:
        patch.setattr(storage.fs, "put_file", fail)
        with pytest.raises(OSError, match="gone"):
            publish(place)
    assert not fetch(elsewhere)
    publish(place)
    assert fetch(elsewhere)


def test_a_cache_without_origin_has_nothing_to_fetch(tmp_path):
    place = tmp_path / "features" / "key"
    assert not fetch(place)
    place.mkdir(parents=True)
    assert fetch(place)
    publish(place)
    assert [path.name for path in tmp_path.iterdir()] == ["features"]


def test_storage_that_cannot_be_written_to(bucket):
    with pytest.raises(InputError, match=r"storage s3://nowhere/x cannot be written to: .*bucket.*AWS_ENDPOINT_URL"):
        check_writable(at("s3://nowhere/x"))
    check_writable(at(f"{bucket}/x"))
    assert not (at(f"{bucket}/x")).exists()


def test_urls_are_for_sweeps(bucket):
    with pytest.raises(InputError, match=f"--storage {bucket}/x: this needs a folder"):
        local_folder(at(f"{bucket}/x"))


def test_settings_take_paths_and_urls(monkeypatch):
    monkeypatch.setenv("TCLAP_STORAGE", "s3://bucket/prefix")
    settings = SweepSettings(_cli_parse_args=["--name", "n"])
    assert str(settings.sweep_folder) == "s3://bucket/prefix/n"
    local = SweepSettings(_cli_parse_args=["--name", "n", "--storage", "/shared"])
    assert local.sweep_folder == Path("/shared/n")
    assert settings.identity() == local.identity()
