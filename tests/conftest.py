"""A tiny synthetic dataset, and datasets that exist only as an index: no network, no GPU, no Ray."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tclap.data import captions, layouts, synth
from tclap.data import dataset as datasets
from tclap.data.dataset import Dataset
from tclap.models.mini import Mini
from tclap.places import at

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 classes x 10 clips in 5 folds."""
    return synth.write_dataset(tmp_path_factory.mktemp("synth") / "data", classes=6, clips=10, seed=0)


@pytest.fixture(scope="session")
def dataset(root: Path) -> Dataset:
    return layouts.read_index(root)


@pytest.fixture(scope="session")
def dataset_digest(dataset: Dataset) -> str:
    return datasets.digest(dataset)


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """URL of a bucket on an S3 server of this session, which the environment names meanwhile."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name, value in {"ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "key", "DEFAULT_REGION": "us-east-1"}.items():
            patch.setenv(f"AWS_{name}", value)
        at("s3://sweeps").fs.mkdir("sweeps")
        yield "s3://sweeps"
    server.stop()


@pytest.fixture
def mini(dataset: Dataset) -> Mini:
    return Mini(captions.vocabulary(dataset.class_names), init_seed=0)
