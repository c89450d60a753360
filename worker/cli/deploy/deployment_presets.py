"""Common deployments: variables, GPUs and scaling, used by the Hub's listing and by `deploy`.

GPU names are RunPod's type ids. The image's default variant (CUDA 12.1) does not know Blackwell, so no
Blackwell GPU is listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

CUDA_VERSIONS = ("12.1", "12.2", "12.3", "12.4", "12.5", "12.6", "12.7", "12.8", "12.9", "13.0")
"""Driver generations the CUDA 12.1 variant runs on: its own and every later one."""

INIT_TIMEOUT_S = 900
"""RUNPOD_INIT_TIMEOUT: RunPod gives up on a worker that is not ready after 7 minutes, ours may take BOOT_TIMEOUT_S."""

PresetName = Literal["sd15", "sdxl", "throughput", "low-cost"]

SD15 = "Deliberate v6"
SDXL = "Jib Mix Illustrious Realistic v2.0 Revelation"


@dataclass(frozen=True, slots=True)
class DeployPreset:
    """One way to deploy.

    Attributes:
        title: For people, in the Hub's list.
        environment: Variables that differ from their defaults.
        gpus: GPU types; RunPod takes whichever has capacity.
        idle_s: Seconds a worker waits for another job before it is stopped; they are billed.
        scaler: How workers are added; with REQUEST_COUNT, `scaler_value` is jobs per worker, with QUEUE_DELAY seconds
            that a job may wait.
    """

    title: str
    environment: Mapping[str, str | int]
    gpus: tuple[str, ...]
    idle_s: int
    scaler: Literal["QUEUE_DELAY", "REQUEST_COUNT"]
    scaler_value: int
    workers_max: int = 3


PRESETS: dict[PresetName, DeployPreset] = {
    "sd15": DeployPreset(
        title="SD 1.5: Deliberate v6, 512 pixels, 16 GB GPUs",
        environment={"DEFAULT_CHECKPOINT": SD15},
        gpus=("NVIDIA RTX A4000", "NVIDIA RTX A4500", "NVIDIA L4", "NVIDIA RTX A5000", "NVIDIA GeForce RTX 3090"),
        idle_s=5,
        scaler="QUEUE_DELAY",
        scaler_value=4,
    ),
    "sdxl": DeployPreset(
        title="SDXL: Jib Mix Illustrious Realistic, 1024 pixels, 24 GB GPUs",
        environment={"DEFAULT_CHECKPOINT": SDXL},
        gpus=("NVIDIA GeForce RTX 4090", "NVIDIA L4", "NVIDIA RTX A5000", "NVIDIA GeForce RTX 3090"),
        idle_s=5,
        scaler="QUEUE_DELAY",
        scaler_value=4,
    ),
    "throughput": DeployPreset(
        title="Throughput: SDXL, the GPU never idle between jobs, fast GPUs, workers stay a minute",
        environment={"DEFAULT_CHECKPOINT": SDXL, "CONCURRENCY": 3, "MAX_PIXELS": 8 * 1024 * 1024},
        gpus=("NVIDIA GeForce RTX 4090", "NVIDIA L40S", "NVIDIA L40", "NVIDIA RTX 6000 Ada Generation"),
        idle_s=60,
        scaler="REQUEST_COUNT",
        scaler_value=3,
        workers_max=5,
    ),
    "low-cost": DeployPreset(
        title="Low cost: SD 1.5, cheapest GPUs, one job at a time, workers stop at once",
        environment={"DEFAULT_CHECKPOINT": SD15, "CONCURRENCY": 1, "MAX_PIXELS": 1024 * 1024, "MAX_IMAGES": 4},
        gpus=("NVIDIA RTX A4000", "NVIDIA RTX A4500", "NVIDIA RTX 2000 Ada Generation", "NVIDIA L4"),
        idle_s=1,
        scaler="QUEUE_DELAY",
        scaler_value=30,
        workers_max=1,
    ),
}
