"""Settings of the WebUI's start."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from worker.settings.env_fields import AnyCase, Url
from worker.settings.settings_group import SettingsGroup

DeviceChoice = Annotated[Literal["auto", "cuda", "cpu"], AnyCase]
VramChoice = Annotated[Literal["auto", "full", "medium", "low"], AnyCase]
Switch = Annotated[Literal["auto", "on", "off"], AnyCase]


def _shell_words(value: str) -> str:
    try:
        shlex.split(value)
    except ValueError as error:
        raise ValueError(f"must be quoted as in a shell ({error})") from None
    return value


class WebUISettings(SettingsGroup):
    """The WebUI."""

    webui_dir: Path | None = Field(None, description="Folder of an A1111 v1.10 checkout that the worker starts.")
    webui_url: Url | None = Field(None, description="Address of an A1111 that is already running; nothing is started.")
    webui_python: Path | None = Field(
        None, description="Python of the WebUI's own environment; default: `venv/bin/python` in WEBUI_DIR."
    )
    webui_port: int = Field(3000, ge=1, le=65535, description="Port of the WebUI on loopback.")
    webui_args: Annotated[str, AfterValidator(_shell_words)] = Field(
        "", description="More command line arguments for the WebUI, quoted as in a shell."
    )
    webui_xformers: Switch = Field(
        "auto", description="Pass --xformers; auto: when the WebUI's Python can import it and there is no --use-cpu."
    )
    device: DeviceChoice = Field(
        "auto",
        description=(
            "What the WebUI computes on. auto: the GPU, or the CPU (--use-cpu all --no-half) where there is none and "
            "none was promised. --use-cpu in WEBUI_ARGS counts more."
        ),
    )
    vram_strategy: VramChoice = Field(
        "auto",
        description=(
            "How sparing the WebUI is with the GPU's memory: full, medium (--medvram) or low (--lowvram); auto: by the "
            "memory there is (from 10 GiB, from 5 GiB: estimates). Such flags in WEBUI_ARGS count more."
        ),
    )
    webui_disable_safe_unpickle: bool = Field(
        default=False,
        description="Pass --disable-safe-unpickle. Loads faster, but a pickled model file can then run any code.",
    )
    webui_hub_dir: Path | None = Field(
        None,
        description="Hugging Face cache of the WebUI; when set, it is started offline with it (the image sets it).",
    )
    webui_disable_mmap: Switch = Field(
        "auto",
        description=(
            "Read models sequentially in place of mmap; auto: when they lie on a volume or network file system."
        ),
    )

    @property
    def on_cpu(self) -> bool:
        """True if the WebUI is told to do without a GPU."""
        return self.device == "cpu" or "--use-cpu" in shlex.split(self.webui_args)
