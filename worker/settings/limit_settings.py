"""Settings of what jobs may name and how large they may be."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from worker.settings.env_fields import Bytes, Pixels, Seconds, Unit
from worker.settings.settings_group import SettingsGroup

AUTO_PIXELS = 0
"""MAX_PIXELS=auto, until the device is known."""
_LEAST_PIXELS = 64 * 64


def _pixels_or_auto(value: Any) -> Any:
    if isinstance(value, str) and value.lower() == "auto":
        return AUTO_PIXELS
    try:
        pixels = int(value)
    except (TypeError, ValueError):
        pixels = 0
    if pixels < _LEAST_PIXELS:
        raise ValueError(f"must be auto, or a whole number, at least {_LEAST_PIXELS}")
    return pixels


def _host_names(value: str) -> str:
    if "://" in value:
        raise ValueError("must name hosts, not URLs")
    return value


class NetworkSettings(SettingsGroup):
    """Network."""

    allow_hosts: Annotated[str, AfterValidator(_host_names)] = Field(
        "",
        description=(
            "Hosts that jobs may name although they are not public, separated by commas: name, name:port, address"
            " or network (10.1.0.0/16)."
        ),
    )

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """The entries of ALLOW_HOSTS."""
        return tuple(entry.strip() for entry in self.allow_hosts.split(",") if entry.strip())


class LimitSettings(SettingsGroup):
    """Limits."""

    max_pixels: Annotated[Pixels, BeforeValidator(_pixels_or_auto)] = Field(
        4 * 1024 * 1024,
        description=(
            "Of one GPU batch (width x height x batch_size); a larger batch is split over n_iter with the same seeds. "
            "auto: by the GPU's memory, an estimate for SDXL: a megapixel for each 3 GiB beyond 8, at most 16."
        ),
    )
    max_images: Annotated[int, Unit("pictures")] = Field(16, ge=1, le=1000, description="Pictures of one job.")
    max_stored_images: Annotated[int, Unit("pictures")] = Field(
        200, ge=1, le=1000, description="Pictures of one job that go into a store, each as soon as it is made."
    )
    max_input_bytes: Bytes = Field(
        100000000,
        ge=1000,
        description="Of one request over HTTP; on a load-balancing endpoint of RunPod 30 MB where nothing is set.",
    )
    max_input_pixels: Pixels = Field(64 * 1024 * 1024, ge=64 * 64, description="Of one picture that a job brings.")
    fetch_timeout_s: Seconds = Field(30, gt=0, le=600, description="For one picture that a job names by URL.")
    max_output_bytes: Bytes = Field(
        9500000,
        ge=1000,
        description=(
            "Of one answer's JSON; the platform drops larger ones (10 MB for /run, 20 MB for /runsync). Over HTTP "
            "where nothing is set: 30 MB on a load-balancing endpoint, 100 MB elsewhere."
        ),
    )

    @property
    def batch_pixels(self) -> int:
        """The most pixels of one GPU batch; the worker has settled `auto` when it starts the WebUI."""
        if self.max_pixels == AUTO_PIXELS:
            raise AssertionError("MAX_PIXELS=auto is settled when the WebUI is started")
        return self.max_pixels
