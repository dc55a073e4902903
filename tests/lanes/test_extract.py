"""Chunks that lanes compute together: what one finds while another puts the set in its place."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tclap import features
from tclap.cache import node_cache
from tclap.data import compose
from tclap.data.compose import Composites
from tclap.data.dataset import Dataset
from tclap.errors import InputError
from tclap.experiment import Stopped, open_workspace
from tclap.features import Extraction
from tclap.lanes import extract
from tclap.lanes.extract import _compute_unless_taken, make_shared
from tclap.models.mini import Mini
from tclap.places import at
from tests.tracking.conftest import configuration


@pytest.fixture
def laid_out(mini: Mini, dataset: Dataset, dataset_digest: str, tmp_path: Path) -> Extraction:
    """One chunk of two windows, not computed yet."""
    windows = Composites(compose.join(np.array([0, 1]), np.array([2, 3])))
    extraction = features.audio_extraction(mini, dataset, dataset_digest, windows, tmp_path)
    features.start_extraction(extraction, mini, dataset)
    return extraction


def remove(folder: Path, pattern: str) -> None:
    """What `shutil.rmtree`, whose order is the disk's, has done so far."""
    found = list(folder.glob(pattern))
    assert found
    for path in found:
        path.unlink()


def test_a_folder_that_is_being_removed_has_nothing_left_to_compute(laid_out: Extraction, mini: Mini) -> None:
    features.compute_chunk(laid_out, mini, 0)
    aside = laid_out.folder.with_name("aside")
    shutil.copytree(laid_out.folder, aside)
    features.finish_extraction(laid_out)
    (aside / "audio.npy").unlink()
    shutil.move(aside, laid_out.folder)
    remove(laid_out.folder, "chunk-*")
    assert laid_out.pending() == [0]
    assert _compute_unless_taken(laid_out, mini, 0)
    remove(laid_out.folder, "events-*")
    assert _compute_unless_taken(laid_out, mini, 0)
    shutil.rmtree(laid_out.folder)
    assert _compute_unless_taken(laid_out, mini, 0)


def test_a_folder_that_is_laid_out_anew_is_looked_at_again(laid_out: Extraction, mini: Mini) -> None:
    """After a kill while the set was put in its place: its rows have left the folder."""
    remove(laid_out.folder, "audio.npy")
    remove(laid_out.folder, "events-samples.npy")
    assert _compute_unless_taken(laid_out, mini, 0)


def test_a_file_that_is_missing_otherwise_is_named(laid_out: Extraction, mini: Mini) -> None:
    remove(laid_out.folder, "events-samples.npy")
    with pytest.raises(InputError, match=r"events-samples\.npy cannot be read"):
        _compute_unless_taken(laid_out, mini, 0)


def test_what_one_worker_makes_for_an_object_store_can_be_stopped_and_is_fetched_by_other_nodes(
    bucket: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "get_device", lambda: torch.device("cpu"))
    origin = at(f"{bucket}/extracted")

    def make(node: str, stop: bool) -> list[str]:
        """What was told while it was made, on a node with a cache of its own."""
        told: list[str] = []
        workspace = open_workspace(root, node_cache(tmp_path / node, origin))
        tell = lambda what, n: told.append(what)  # noqa: E731
        make_shared(workspace, configuration(3), str(origin), lambda: stop, tell, lambda line: None)
        return told

    with pytest.raises(Stopped, match="while features were computed"):
        make("one", stop=True)
    assert "features" in make("one", stop=False)
    monkeypatch.setattr(extract, "compute_chunk", lambda *_: pytest.fail("it was computed before"))
    assert make("other", stop=False) == ["base model"]
