"""How many lanes a cluster has room for."""

from types import SimpleNamespace

import pytest

from tclap.lanes import cluster


@pytest.mark.parametrize(
    ("workers", "gpus_per_worker", "there", "lanes"),
    [
        (1, 0.0, {"CPU": 2.0}, 2),
        (2, 0.0, {"CPU": 7.0, "GPU": 8.0}, 3),
        (1, 1.0, {"CPU": 64.0, "GPU": 8.0}, 8),
        (1, 0.25, {"CPU": 64.0, "GPU": 1.0}, 4),
        (1, 0.1, {"CPU": 64.0, "GPU": 3.0}, 30),
        (1, 0.6, {"CPU": 64.0, "GPU": 2.0}, 2),  # 0.4 of each is left over: no third lane
        (1, 0.3, {"CPU": 64.0, "GPU": 2.0}, 6),
        (2, 1.0, {"CPU": 64.0, "GPU": 5.0}, 2),
        (1, 0.25, {"CPU": 3.0, "GPU": 1.0}, 3),
    ],
)
def test_a_lane_has_a_cpu_for_each_worker_and_its_share_of_one_gpu(
    monkeypatch: pytest.MonkeyPatch, workers: int, gpus_per_worker: float, there: dict[str, float], lanes: int
) -> None:
    monkeypatch.setattr(cluster.ray, "cluster_resources", lambda: there)
    sweep = SimpleNamespace(workers=workers, gpus_per_worker=gpus_per_worker)
    assert cluster.room_for_lanes(sweep) == lanes  # type: ignore[arg-type]
