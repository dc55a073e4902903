"""System metrics: read from this machine, logged to a real SQLite store."""

import sys
import time
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from mlflow.system_metrics.metrics import gpu_monitor

from tclap.tracking import runs, system
from tclap.tracking.system import SystemMetrics

ALWAYS = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/disk_available_megabytes",
    "system/network_receive_megabytes",
}


@pytest.fixture
def run(tmp_path) -> tuple[MlflowClient, str]:
    client, experiment = runs.connect(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    return client, client.create_run(experiment).info.run_id


def test_what_this_machine_does_is_logged_by_the_seconds_of_the_run(run, monkeypatch):
    client, run_id = run
    began_ms = client.get_run(run_id).info.start_time
    metrics = SystemMetrics(client, run_id)
    assert client.get_run(run_id).data.metrics == {}
    for seconds in (12, 75):
        monkeypatch.setattr(time, "time", lambda now=began_ms / 1000 + seconds: now)
        metrics.log()
    logged = client.get_run(run_id).data.metrics
    assert logged.keys() >= ALWAYS
    history = client.get_metric_history(run_id, "system/system_memory_usage_megabytes")
    assert [(metric.step, metric.timestamp) for metric in history] == [
        (12, began_ms + 12_000),
        (75, began_ms + 75_000),
    ]
    assert all(metric.value > 1 for metric in history)


def test_the_load_is_that_since_the_last_look(run):
    client, run_id = run
    metrics = SystemMetrics(client, run_id)
    until = time.process_time() + 0.3
    while time.process_time() < until:  # one core is busy
        pass
    metrics.log()
    assert client.get_run(run_id).data.metrics["system/cpu_utilization_percentage"] > 0


def test_it_is_logged_when_the_interval_is_over_and_not_before(run, monkeypatch):
    client, run_id = run
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "30")
    metrics = SystemMetrics(client, run_id)
    now = time.monotonic()
    for seconds in (29, 31, 40, 62):
        monkeypatch.setattr(time, "monotonic", lambda later=now + seconds: later)
        metrics.log_when_due()
    assert len(client.get_metric_history(run_id, "system/disk_available_megabytes")) == 2


def test_mlflows_own_switch_turns_it_off(run, monkeypatch):
    client, run_id = run
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    SystemMetrics(client, run_id).log()
    assert client.get_run(run_id).data.metrics == {}


def test_gpus_are_read_where_there_are_some(run, monkeypatch):
    client, run_id = run
    nvml = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetMemoryInfo=lambda i: SimpleNamespace(used=3e9, total=80e9),
        nvmlDeviceGetUtilizationRates=lambda i: SimpleNamespace(gpu=90 + i),
        nvmlDeviceGetPowerUsage=lambda i: 350_000,
        nvmlDeviceGetEnforcedPowerLimit=lambda i: 700_000,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(gpu_monitor, "pynvml", nvml)
    SystemMetrics(client, run_id).log()
    logged = client.get_run(run_id).data.metrics
    assert (logged["system/gpu_0_utilization_percentage"], logged["system/gpu_1_utilization_percentage"]) == (90, 91)
    assert logged["system/gpu_0_memory_usage_megabytes"] == 3000


def test_without_gpus_there_is_the_rest(run, monkeypatch):
    def refuse() -> None:
        raise RuntimeError("no GPU is found")

    monkeypatch.setattr(system, "GPUMonitor", refuse)
    client, run_id = run
    SystemMetrics(client, run_id).log()
    logged = client.get_run(run_id).data.metrics
    assert logged.keys() >= ALWAYS
    assert not any("gpu" in name for name in logged)


def test_what_mlflow_raises_comes_out(run, monkeypatch):
    client, run_id = run
    metrics = SystemMetrics(client, run_id)

    def away(*args: object, **kwargs: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(client, "log_batch", away)
    with pytest.raises(OSError, match="the disk is full"):
        metrics.log()
