"""What a run's machine did meanwhile: CPU, memory, disk, network and GPUs, as MLflow's own monitors read them.

MLflow's page shows them on a tab of their own. Its `SystemMetricsMonitor` is not used: it has a thread that writes
beside whoever else writes to the run, stops for good once MLflow was away, and logs nothing of a run of ten seconds.
"""

from __future__ import annotations

import time

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.environment_variables import (
    MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING,
    MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL,
)
from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

EVERY_S = 10.0  # MLflow's own interval


class SystemMetrics:
    """Logs what this machine does as system/... of one run; the step is the seconds since the run began.

    So a run that goes on, on whatever machine, adds to what it has. MLflow's own variables set the interval
    (MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL) and turn it off (MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=false).
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._began_ms = client.get_run(run_id).info.start_time
        wanted = MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get() or not MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.is_set()
        self._monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor(), *_gpu_monitors()] if wanted else []
        self._every_s = MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.get() or EVERY_S
        self._read()  # the CPU's load is that since the last look, so the first one is none
        self._logged_at = time.monotonic()

    def log_when_due(self) -> None:
        """Log, unless the interval since the last time is not over. Raises what MLflow raises."""
        if time.monotonic() - self._logged_at >= self._every_s:
            self.log()

    def log(self) -> None:
        """Log what the machine did since the last time. Raises what MLflow raises."""
        now_ms = int(time.time() * 1000)
        step = (now_ms - self._began_ms) // 1000
        metrics = [Metric(f"system/{name}", value, now_ms, step) for name, value in self._read().items()]
        if metrics:
            self._client.log_batch(self._run_id, metrics=metrics)
        self._logged_at = time.monotonic()

    def _read(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            values |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        return values


def _gpu_monitors() -> list[BaseMetricsMonitor]:
    for kind in (GPUMonitor, ROCMMonitor):
        try:
            return [kind()]
        except (ImportError, RuntimeError):  # no library, or no GPU, of that make
            continue
    return []
