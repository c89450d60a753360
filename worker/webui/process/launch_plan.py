"""The plan for a WebUI, made from settings and machine: which one, how it is started, with which options."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from worker.errors import BootFailed
from worker.settings import IMAGE_WEBUI_DIR, VOLUME, without_secrets
from worker.webui.names import weights
from worker.webui.process import command_line
from worker.webui.process.device import Device, choose_device
from worker.webui.process.environment import (
    checkpoints_in_memory,
    find_python,
    free_port,
    loras_in_memory,
    memory_bytes,
    must_be_free,
    on_network,
    use_xformers,
)
from worker.webui.process.options_file import options as webui_options
from worker.webui.process.webui_process import Program, environment_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.settings import ModelKind, Settings
    from worker.webui.names.weights import Weights

A1111 = "a1111"
STAND_IN = "stand-in"
STAND_IN_PACKAGE = "standin"
AMD_DRIVER = Path("/dev/kfd")
EXTERNAL_SILENCE_S = 35.0
"""A WebUI that loads a large model may not answer for some seconds: Python's lock is taken while weights are copied."""
EXTERNAL_PATIENCE_S = 5.0
TEMPORARY = "a1111-worker-"
"""Before the process id: the folder of what a worker writes for its WebUI."""


class FileView(Protocol):
    """A folder of checkpoints made for the WebUI, which stands for the true one."""

    def sync(self) -> None:
        """Make the folders agree."""

    def true(self, filename: str) -> str:
        """Return the true place of a file that the WebUI lists."""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """The plan for starting a WebUI, or for finding one that somebody else has started.

    Attributes:
        name: ``a1111`` or ``stand-in``, told in every answer.
        url: Where it listens.
        boot_timeout, idle_timeout, connect_timeout, stall_timeout: Seconds; see the settings of these names.
        preview_every: Seconds between two looks at the progress of a job with live previews.
        program: What to run; None: somebody else runs it (see `is_external`).
        options_file, options: Written before the program starts.
        checkpoint: The model file it has to load; None: whatever it has loaded.
        embeddings, controlnets: The folders of these models, which it names without their places; None: unknown.
        needs_gpu: A GPU was promised, so a WebUI that finds none is of no use.
        log_prompts: Prompts may appear in the log.
        weights: Upscaler and face restoration weights on this machine; None: unknown.
        device: What it computes on; None: unknown.
    """

    name: str
    url: str
    boot_timeout: float
    idle_timeout: float
    connect_timeout: float
    stall_timeout: float = 120.0
    preview_every: float = 2.0
    program: Program | None = None
    options_file: Path | None = None
    options: Mapping[str, Any] | None = None
    checkpoint: Path | None = None
    checkpoint_name: str | None = None
    embeddings: Path | None = None
    controlnets: Path | None = None
    weights: Weights | None = None
    needs_gpu: bool = False
    log_prompts: bool = True
    device: Device | None = None

    @property
    def is_external(self) -> bool:
        """True if somebody else runs it: there is no process to watch, to kill or to start anew, and no log."""
        return self.program is None

    @property
    def silence_limit(self) -> float | None:
        """Seconds without any answer after which it counts as hung; None: its process and the stall limits tell."""
        return EXTERNAL_SILENCE_S if self.is_external else None

    @property
    def silence_patience(self) -> float:
        """Seconds without an answer after which it is not told again to stop."""
        return EXTERNAL_PATIENCE_S if self.is_external else self.idle_timeout

    @property
    def kept_models(self) -> int:
        """Return how many checkpoints and LoRAs the WebUI may keep in memory beside those of the job."""
        told = self.options or {}
        return int(told.get("sd_checkpoints_limit", 1)) + int(told.get("lora_in_memory_limit", 0))


def webui_dir(settings: Settings) -> Path | None:
    """Return the folder of the A1111 that is to be started, None when there is none on this machine."""
    if settings.webui_dir is not None:
        return settings.webui_dir
    return IMAGE_WEBUI_DIR if (IMAGE_WEBUI_DIR / "launch.py").is_file() else None


def wrong_checkout(settings: Settings) -> tuple[str, str] | None:
    """Return what is wrong with the folder of the A1111 that is to be started, and the remedy; None: nothing."""
    folder = webui_dir(settings) if settings.webui_url is None else None
    if folder is None or (folder / "launch.py").is_file():
        return None
    seen = f"{folder} has no launch.py" if folder.is_dir() else f"WEBUI_DIR is {folder}, but there is no such folder"
    return seen, "Point WEBUI_DIR at an A1111 checkout: the folder with launch.py in it."


def kind(settings: Settings) -> str:
    """Return which WebUI is meant: ``a1111`` or ``stand-in``.

    Raises:
        BootFailed: no WebUI, in production or where there is no stand-in either; that is for local runs only.
    """
    if settings.webui_url is not None or webui_dir(settings) is not None:
        return A1111
    if settings.in_production:
        raise BootFailed(
            "there is no WebUI here, and the stand-in never serves production jobs",
            hint=f"Set WEBUI_DIR or WEBUI_URL, or use the image, which has A1111 in {IMAGE_WEBUI_DIR}.",
        )
    if importlib.util.find_spec(STAND_IN_PACKAGE) is None:
        raise BootFailed("there is no WebUI here, and no stand-in for one", hint="Set WEBUI_DIR or WEBUI_URL.")
    return STAND_IN


def plan(
    settings: Settings,
    checkpoint: Path | None,
    environment: Mapping[str, str],
    *,
    checkpoint_dir: Path | None = None,
    demo_models: bool = False,
) -> LaunchPlan:
    """Return how the WebUI comes to be.

    Args:
        settings: The worker's settings; for the stand-in with the model folders it may write to.
        checkpoint: The file to load at start; None: whatever the WebUI has loaded or finds.
        environment: The worker's own.
        checkpoint_dir: The folder of checkpoints for the WebUI; default: the settings'.
        demo_models: Let the stand-in fill empty model folders with small files.

    Raises:
        BootFailed: no WebUI, no Python for it, or its port is taken.
    """
    shared: dict[str, Any] = {
        "boot_timeout": settings.boot_timeout_s,
        "idle_timeout": settings.idle_timeout_s,
        "connect_timeout": settings.connect_timeout_s,
        "stall_timeout": settings.stall_timeout_s,
        "preview_every": settings.live_preview_every_s,
        "log_prompts": settings.log_prompts,
        "embeddings": settings.folder("embedding"),
        "controlnets": settings.folder("controlnet"),
    }
    name, folder = kind(settings), webui_dir(settings)
    if settings.webui_url is not None:
        return LaunchPlan(name, settings.webui_url, checkpoint_name=settings.default_checkpoint or None, **shared)
    device = device_here(settings) if folder is not None else Device("cpu")
    launch = _launch(settings, folder, device, checkpoint, checkpoint_dir, demo_models=demo_models)
    child = {**environment_for(without_secrets(settings, environment)), **_offline(settings)}
    if folder is None:
        child["PYTHONPATH"] = str(Path(__file__).resolve().parents[3])
    return LaunchPlan(
        name,
        f"http://{command_line.LOOPBACK}:{launch.port}",
        program=Program(tuple(command_line.command_line(launch)), folder or Path.cwd(), child),
        options_file=launch.settings_file,
        options=_options(settings, folder),
        checkpoint=checkpoint,
        needs_gpu=settings.gpu_promised and device.name == "cuda",
        device=device,
        weights=None if folder is None else weights.look(folder, settings.webui_args, [settings.folder("upscaler")]),
        **shared,
    )


def _launch(
    settings: Settings,
    folder: Path | None,
    device: Device,
    checkpoint: Path | None,
    checkpoint_dir: Path | None,
    *,
    demo_models: bool,
) -> command_line.Launch:
    """Return what the command line says: of the A1111 in `folder`, of the stand-in where there is none."""
    if folder is None:
        demo = ("--demo-models",) if demo_models else ()
        program: tuple[str, ...] = (sys.executable, "-m", STAND_IN_PACKAGE, *demo)
        port, xformers = free_port(), False
    else:
        python = find_python(settings, folder)
        program = (str(python), "launch.py")
        port, xformers = settings.webui_port, use_xformers(settings, python, on_cpu=device.name == "cpu")
        must_be_free(port)
    return command_line.Launch(
        program=program,
        port=port,
        checkpoint_dir=_made(checkpoint_dir or settings.folder("checkpoint")),
        lora_dir=_made(settings.folder("lora")),
        embedding_dir=_made(settings.folder("embedding")),
        vae_dir=_made(settings.folder("vae")),
        controlnet_dir=_made(settings.folder("controlnet")) if _has_controlnet(folder) else None,
        annotator_dir=_there(settings.folder("annotator")) if _has_controlnet(folder) else None,
        upscaler_dir=_beside_the_webuis(settings, "upscaler"),
        settings_file=_own_folder() / "config.json",
        checkpoint=checkpoint.absolute() if checkpoint is not None else None,
        xformers=xformers,
        disable_safe_unpickle=settings.webui_disable_safe_unpickle,
        device=device.flags,
        extra=settings.webui_args,
    )


def _options(settings: Settings, folder: Path | None) -> Mapping[str, Any]:
    """Return the options that the WebUI starts with."""
    memory = memory_bytes()
    return webui_options(
        disable_mmap=_sequential(settings),
        checkpoints_in_memory=checkpoints_in_memory(memory),
        loras_in_memory=loras_in_memory(memory),
        detectors=_beside_the_webuis(settings, "detector"),
        own=_own_options(folder),
    )


def device_here(settings: Settings) -> Device:
    """Return the device for a WebUI that is started on this machine; looks for GPUs."""
    from worker.telemetry.gpu import Gpus  # noqa: PLC0415 - not needed with WEBUI_URL

    return choose_device(settings, Gpus().read(), other_gpu=AMD_DRIVER.exists())


def _offline(settings: Settings) -> dict[str, str]:
    """Return what keeps the WebUI from fetching tokenizers and configurations when it starts."""
    if settings.webui_hub_dir is None:
        return {}
    return {"HF_HOME": str(settings.webui_hub_dir), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def _sequential(settings: Settings) -> bool:
    if settings.webui_disable_mmap != "auto":
        return settings.webui_disable_mmap == "on"
    folder = settings.folder("checkpoint").absolute()
    if folder.is_relative_to(VOLUME):
        return True
    try:
        return on_network(folder, Path("/proc/mounts").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return False


def _made(folder: Path) -> Path:
    """Return `folder`, made if it can be: a volume that is mounted at run time is empty at first.

    On a volume that is mounted read-only an empty folder elsewhere stands for it: the WebUI would fail to make it too.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        if not folder.is_dir():
            folder = _own_folder() / "empty"
            folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute()


def _own_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"{TEMPORARY}{os.getpid()}"


def _has_controlnet(folder: Path | None) -> bool:
    """Return whether ControlNet is installed, without which A1111 refuses its flags."""
    return folder is not None and any((folder / "extensions").glob("*controlnet*"))


def _there(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None


def _beside_the_webuis(settings: Settings, kind: ModelKind) -> Path | None:
    """Return the folder of models of `kind`; None: there is none, or it is the WebUI's own."""
    is_own = settings.has_checkout_models and getattr(settings, f"{kind}_dir") is None
    return None if is_own else _there(settings.folder(kind))


def _own_options(folder: Path | None) -> Mapping[str, Any]:
    if folder is None:
        return {}
    try:
        content = orjson.loads((folder / "config.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}
