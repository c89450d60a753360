"""Settings of logs and local runs, and those that the platform makes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

from pydantic import BeforeValidator, Field

from worker.settings.env_fields import AnyCase
from worker.settings.settings_group import SettingsGroup


def _warn(value: Any) -> Any:
    return "warn" if value == "warning" else value


LogLevel = Annotated[Literal["debug", "info", "warning", "error"], AnyCase]
LogFormat = Annotated[Literal["auto", "json", "pretty"], AnyCase]
SdkLogLevel = Annotated[Literal["notset", "trace", "debug", "info", "warn", "error"], BeforeValidator(_warn), AnyCase]


class LogSettings(SettingsGroup):
    """Logs and local runs."""

    log_level: LogLevel = Field("info", description="Least level that is logged.")
    log_format: LogFormat = Field(
        "auto", description="json: a line per event; pretty: for a terminal; auto: pretty on a terminal, else json."
    )
    log_prompts: bool = Field(default=True, description="Prompts may appear in logs.")
    out_dir: Path = Field(Path("out"), description="Where local runs leave their pictures and answer.json.")

    def logs_as_json(self, stream: TextIO) -> bool:
        """Return whether logs written to `stream` are JSON."""
        return self.log_format == "json" or (self.log_format == "auto" and not stream.isatty())


class PlatformSettings(SettingsGroup):
    """Set by the platform."""

    runpod_get_job: str | None = Field(
        None,
        validation_alias="RUNPOD_WEBHOOK_GET_JOB",
        description="Set by RunPod: jobs come from there; its presence means production.",
    )
    runpod_log_level: SdkLogLevel | None = Field(
        None, description="Least level that RunPod's SDK logs; default: as LOG_LEVEL."
    )
    nvidia_visible_devices: str | None = Field(
        None, description="Set by NVIDIA's container runtime: a GPU was promised, so there has to be one."
    )
    runpod_pod_id: str | None = Field(None, description="Set by RunPod: the id of this worker.")

    @property
    def in_production(self) -> bool:
        """True in RunPod's job environment."""
        return bool(self.runpod_get_job)

    @property
    def gpu_promised(self) -> bool:
        """True if the container runtime promises a GPU."""
        return (self.nvidia_visible_devices or "void").lower() not in {"void", "none"}
