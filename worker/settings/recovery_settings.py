"""Settings of deadlines, of recovery after failures and of throughput."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from worker.settings.env_fields import Seconds
from worker.settings.settings_group import SettingsGroup


class DeadlineSettings(SettingsGroup):
    """Deadlines."""

    boot_timeout_s: Seconds = Field(600, gt=0, le=7200, description="Until the WebUI has loaded its model.")
    job_timeout_s: Seconds = Field(600, gt=0, le=86400, description="For one job, waiting included.")
    idle_timeout_s: Seconds = Field(
        30, gt=0, le=600, description="For an interrupted WebUI to become idle before it counts as hung."
    )
    connect_timeout_s: Seconds = Field(5, gt=0, le=60, description="For a connection to the WebUI.")
    stall_timeout_s: Seconds = Field(
        120,
        gt=0,
        le=3600,
        description=(
            "Without progress before a generation counts as hung, for a batch of up to one megapixel; larger get more. "
            "Likewise without any answer during an upscale or another call."
        ),
    )


class RecoverySettings(SettingsGroup):
    """Recovery."""

    reruns: int = Field(
        1,
        ge=0,
        le=3,
        description=(
            "How often a job is run again (same seeds) after one kind of failure that may not repeat: a crash, a "
            "stall, a wrong answer."
        ),
    )
    restarts: int = Field(
        5, ge=0, le=100, description="Restarts of the WebUI within RESTART_WINDOW_S before the worker gives up."
    )
    restart_window_s: Seconds = Field(600, gt=0, le=86400, description="See RESTARTS.")
    poison_s: Seconds = Field(
        900, ge=0, le=86400, description="For how long a job that has killed the WebUI twice is refused."
    )
    stop_grace_s: Seconds = Field(
        600,
        gt=0,
        le=86400,
        description="After SIGTERM: how long running jobs may take; then they are answered with a retryable error.",
    )
    recycle_memory_share: float = Field(
        0.9,
        ge=0,
        le=1,
        description=(
            "Share of the RAM (of the container) or of the GPU's memory from which on the WebUI is restarted between "
            "two jobs, at most once in 24 jobs; 0: never."
        ),
    )
    results_dir: Path | None = Field(
        None,
        description=(
            "Where answers are kept for jobs that are handed out again; default: /runpod-volume/worker-results in"
            " production with a volume, else nowhere."
        ),
    )
    result_retention_s: Seconds = Field(3600, ge=0, le=604800, description="How long they are kept; 0: not at all.")


class ThroughputSettings(SettingsGroup):
    """Throughput."""

    concurrency: int = Field(
        2,
        ge=1,
        le=16,
        description=(
            "Jobs held at once. One generates; the others upload or wait, so the GPU never idles between jobs. "
            "With more than 1 a waiting job is claimed early and the autoscaler sees a shorter queue."
        ),
    )
    group_wait_s: Seconds = Field(
        0,
        ge=0,
        le=600,
        description=(
            "How long a waiting job lets others pass whose checkpoint is loaded already; 0: strictly in order. "
            "Useful with CONCURRENCY of 3 or more."
        ),
    )

    workflow_shares_gpu: bool = Field(
        default=False, description="Whether other jobs may have the GPU between the stages of a workflow."
    )
