"""Figures of the GPUs, from NVIDIA's management library (NVML)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric


@dataclass(frozen=True, slots=True)
class Gpu:
    """Figures of one GPU; None where it does not report one.

    Attributes:
        name: Its model.
        memory_total, memory_used: Bytes.
        busy: Share of the last moments in which something ran, 0 to 1.
        watts: Power drawn.
        celsius: Its temperature.
    """

    name: str
    memory_total: int
    memory_used: int
    busy: float | None = None
    watts: float | None = None
    celsius: float | None = None


@dataclass(frozen=True, slots=True)
class Driver:
    """The driver's version and the CUDA version it supports, `(12, 8)`."""

    version: str
    cuda: tuple[int, int]


class Gpus:
    """Reader of the GPUs' figures; without NVIDIA's library or a GPU there are none."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._missing = False

    def driver(self) -> Driver | None:
        """Return the driver, None without one."""
        nvml = self._library()
        if nvml is None:
            return None
        cuda = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
        return Driver(str(nvml.nvmlSystemGetDriverVersion()), (cuda // 1000, cuda % 1000 // 10))

    def read(self) -> list[Gpu]:
        """Return every GPU as it is now."""
        nvml = self._library()
        if nvml is None:
            return []
        return [self._one(nvml, nvml.nvmlDeviceGetHandleByIndex(i)) for i in range(nvml.nvmlDeviceGetCount())]

    def collect(self) -> Iterator[Metric]:
        """Yield their figures for Prometheus."""
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - not needed by the doctor

        gpus = self.read()
        rows: tuple[tuple[str, str, str], ...] = (
            ("worker_gpu_memory_total_bytes", "The GPU's memory.", "memory_total"),
            ("worker_gpu_memory_used_bytes", "Of it, in use.", "memory_used"),
            ("worker_gpu_utilization_ratio", "Share of the last moments in which a kernel ran.", "busy"),
            ("worker_gpu_power_watts", "Power drawn.", "watts"),
            ("worker_gpu_temperature_celsius", "Temperature.", "celsius"),
        )
        for name, about, field in rows if gpus else ():
            family = GaugeMetricFamily(name, about, labels=("gpu", "name"))
            for index, gpu in enumerate(gpus):
                value = getattr(gpu, field)
                if value is not None:
                    family.add_metric((str(index), gpu.name), value)
            yield family

    def _library(self) -> Any:
        if self._nvml is None and not self._missing:
            import pynvml  # noqa: PLC0415 - only where somebody asks for figures

            try:
                pynvml.nvmlInit()
            except pynvml.NVMLError:
                self._missing = True
            else:
                self._nvml = pynvml
        return self._nvml

    def _one(self, nvml: Any, handle: Any) -> Gpu:
        def ask(question: str, *arguments: Any) -> Any:
            try:
                return getattr(nvml, question)(handle, *arguments)
            except nvml.NVMLError:  # many cards and virtual GPUs leave some of it out
                return None

        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        rates, power = ask("nvmlDeviceGetUtilizationRates"), ask("nvmlDeviceGetPowerUsage")
        return Gpu(
            name=str(nvml.nvmlDeviceGetName(handle)),
            memory_total=int(memory.total),
            memory_used=int(memory.used),
            busy=rates.gpu / 100 if rates is not None else None,
            watts=power / 1000 if power is not None else None,
            celsius=ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        )
