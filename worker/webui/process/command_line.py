"""The WebUI's command line, as a pure function."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK = "127.0.0.1"
CPU_FLAG = "--use-cpu"


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything the command line depends on.

    Attributes:
        program: The interpreter and the script or module, for example ``("python", "launch.py")``.
        settings_file: The options file that the WebUI reads before anything else.
        checkpoint: The model file it has to load; None: it finds out by itself.
        xformers: Whether xformers can be imported where the WebUI runs.
        disable_safe_unpickle: Let pickled models run code (see docs/settings.md).
        device: Flags for the device and its memory.
        extra: The operator's own arguments, as in a shell; they come last, so they win.
    """

    program: tuple[str, ...]
    port: int
    checkpoint_dir: Path
    lora_dir: Path
    embedding_dir: Path
    vae_dir: Path
    settings_file: Path
    controlnet_dir: Path | None = None
    annotator_dir: Path | None = None
    upscaler_dir: Path | None = None
    checkpoint: Path | None = None
    xformers: bool = False
    disable_safe_unpickle: bool = False
    device: tuple[str, ...] = ()
    extra: str = ""


def command_line(launch: Launch) -> list[str]:
    """Return the arguments that start the WebUI headless on loopback.

    Flags are those of A1111 v1.10.1 (`modules/cmd_args.py`). ``--skip-prepare-environment`` keeps it from installing or
    cloning anything at run time; ``--server-name`` keeps it off every other interface, since it has no password.
    """
    arguments = [*launch.program]
    if launch.xformers:
        arguments.append("--xformers")
    arguments += [
        "--no-half-vae",
        "--skip-prepare-environment",
        "--skip-python-version-check",
        "--skip-torch-cuda-test",
        "--skip-install",
        "--skip-version-check",
        *("--ckpt-dir", str(launch.checkpoint_dir)),
        *("--lora-dir", str(launch.lora_dir)),
        *("--embeddings-dir", str(launch.embedding_dir)),
        *("--vae-dir", str(launch.vae_dir)),
    ]
    if launch.upscaler_dir is not None:
        # The second for R-ESRGAN's own names: it takes nothing from there but the files that it would download.
        arguments += ["--esrgan-models-path", str(launch.upscaler_dir)]
        arguments += ["--realesrgan-models-path", str(launch.upscaler_dir)]
    if launch.controlnet_dir is not None:
        arguments += ["--controlnet-dir", str(launch.controlnet_dir)]
    if launch.annotator_dir is not None:
        arguments += ["--controlnet-annotator-models-path", str(launch.annotator_dir)]
    if launch.checkpoint is not None:
        arguments += ["--ckpt", str(launch.checkpoint)]
    arguments += [
        "--opt-sdp-attention",
        *("--port", str(launch.port)),
        *("--server-name", LOOPBACK),
        "--api",
        "--nowebui",
        "--no-hashing",
        "--no-download-sd-model",
        *("--ui-settings-file", str(launch.settings_file)),
        # Only the debug log tells that a LoRA could not be applied to a layer.
        *("--loglevel", "DEBUG"),
    ]
    if launch.disable_safe_unpickle:
        arguments.append("--disable-safe-unpickle")
    return [*arguments, *launch.device, *shlex.split(launch.extra)]
