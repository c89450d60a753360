"""From a spawned process to a WebUI that has loaded the model that was asked for.

A port that answers proves nothing: A1111 lists everything while the model still loads, keeps running when loading has
failed, and takes the first file of the list when the one asked for is missing. ``reload-checkpoint`` is the gate: it
blocks until the model is there. A one-step picture after it names the model that is really loaded, and warms it up.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from worker.errors import BootFailed, WebUIFailed, WebUIRejected, WebUIUnreachable, WorkerError
from worker.telemetry.logs import get_logger
from worker.webui.names.catalog import LISTINGS, Baseline, Catalog, parse
from worker.webui.process import external, options_file
from worker.webui.process.process_stats import is_ours
from worker.webui.result.response import read_info

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from worker.webui.http import WebUIClient
    from worker.webui.names.catalog import Checkpoint
    from worker.webui.process.launch_plan import LaunchPlan

_log = get_logger("webui")
POLL_S = 0.05
TAIL_LINES = 25
CUDA_HINT = (
    "The host's driver and the image's CUDA do not fit: choose newer hosts (CUDA versions in the endpoint's settings), "
    "or the image's other CUDA variant."
)
_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|NotFound)\b:? ")


class BootWatch(Protocol):
    """The process that has to stay alive meanwhile, and the time that is left."""

    @property
    def pid(self) -> int | None:
        """The process, where it is ours."""

    def ended(self) -> str | None:
        """Return how the process ended, None while it runs."""

    def tail(self) -> Sequence[str]:
        """Return the last lines of its log."""

    def left(self) -> float:
        """Return the seconds until the boot deadline."""

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the process lives."""


def wait_for_port(url: str, watch: BootWatch) -> None:
    """Return when our WebUI accepts connections at `url`.

    Raises:
        BootFailed: the process ended, or the deadline has passed.
    """
    where = urlsplit(url)
    address = (where.hostname or "127.0.0.1", where.port or (443 if where.scheme == "https" else 80))
    while True:
        check(watch)
        try:
            with socket.create_connection(address, timeout=1.0):
                return
        except OSError:
            watch.pause(POLL_S)


def require_own(url: str, group: int, watch: BootWatch) -> None:
    """Return when it is the WebUI's process group that listens at `url`.

    Raises:
        BootFailed: another program does, WebUI or not; or ours has ended over it.
    """
    port = urlsplit(url).port or 80
    if is_ours(port, group) is False:
        check(watch)
        raise failure(f"port {port} is taken by another program", watch, hint="Set WEBUI_PORT to a free port.")


def check(watch: BootWatch, during: str = "") -> None:
    """Raise BootFailed with the cause and the log's end when the process has ended or the time is up."""
    how = watch.ended()
    if how is not None:
        raise failure(f"the WebUI ended while it started ({how})", watch)
    if watch.left() <= 0:
        raise failure(f"the WebUI was not ready at the boot deadline{during}", watch, hint="Raise BOOT_TIMEOUT_S.")


def failure(message: str, watch: BootWatch, hint: str | None = None, default_hint: str | None = None) -> BootFailed:
    """Return a BootFailed that carries the log's end; without a hint, the one that the log's words call for."""
    lines = list(watch.tail())
    advice = hint or _hint([message, *lines]) or default_hint
    return BootFailed(message, hint=advice, details={"log": lines[-TAIL_LINES:]})


def wait_for_model(client: WebUIClient, watch: BootWatch) -> None:
    """Return when the WebUI has loaded its model.

    Raises:
        BootFailed: it could not load one, ended, or took longer than the deadline.
    """
    try:
        client.post("/sdapi/v1/reload-checkpoint", {}, timeout=max(1.0, watch.left()))
    except WebUIUnreachable as error:
        watch.pause(POLL_S)
        check(watch, " (the model was still loading)")
        raise failure(f"the WebUI broke off while it loaded its model: {error.message}", watch) from error
    except (WebUIFailed, WebUIRejected) as error:
        raise failure(f"the WebUI could not load its model: {_cause(error, watch)}", watch) from error


def require_gpu(client: WebUIClient, watch: BootWatch) -> None:
    """Return when the WebUI can use a GPU. A1111 would go on without one, on the CPU, for minutes a picture.

    Raises:
        BootFailed: torch finds none, though there is one: the driver and the image's CUDA do not fit.
    """
    said = client.get("/sdapi/v1/memory")
    cuda = said.get("cuda") if isinstance(said, dict) else None
    if isinstance(cuda, dict) and "error" in cuda:
        raise failure(f"the WebUI can't use the GPU (CUDA: {cuda['error']})", watch, default_hint=CUDA_HINT)


def learn(client: WebUIClient) -> Catalog:
    """Return what the WebUI lists now."""
    return parse({name: _listing(client, path) for name, path in LISTINGS.items()})


@dataclass(frozen=True, slots=True)
class Ready:
    """A WebUI that has made its first picture.

    Attributes:
        catalog: What it lists.
        baseline: What holds where a job says nothing.
        model_name: The name of its model.
        model_title: The same model by what tells it from others of its name, where that is known.
        version: The WebUI's own.
    """

    catalog: Catalog
    baseline: Baseline
    model_name: str
    model_title: str
    version: str | None


def reach(plan: LaunchPlan, client: WebUIClient, watch: BootWatch) -> None:
    """Return when the WebUI answers at all, which it does from the moment its port opens.

    Raises:
        BootFailed: it does not; the message names the cause.
    """
    pid = watch.pid
    if pid is None:
        external.wait_for_listener(plan.url, left=watch.left, pause=watch.pause)
        external.require_answer(client, left=watch.left, pause=watch.pause)
    else:
        wait_for_port(plan.url, watch)
        require_own(plan.url, pid, watch)
    _log.info("port open")


def make_ready(
    plan: LaunchPlan,
    client: WebUIClient,
    watch: BootWatch,
    *,
    learn: Callable[[], Catalog],
    broken: Collection[str] = (),
) -> Ready:
    """Return when the model asked for is loaded and has made a picture; the WebUI has to answer (see `reach`).

    Args:
        plan: How the WebUI was started, or where it was found.
        client: Its API.
        watch: Its process, and the time.
        learn: Returns what it lists.
        broken: Titles of checkpoints that a WebUI of somebody else has failed to load since it was ready last.

    Raises:
        BootFailed: it will not be; the message names the cause, `details.log` the log's end.
    """
    pid = watch.pid
    if plan.needs_gpu:
        require_gpu(client, watch)
    wait_for_model(client, watch)
    try:
        options = external.options_at_rest(client, pause=watch.pause)
        pin_options(client, options)
        catalog = learn()
        wanted = default_checkpoint(plan, catalog)
        # A WebUI of ours was told what to load, and what it did load has to show; another may be switched.
        switch = wanted.title if wanted is not None and pid is None else None
        try:
            first = warm_up(client, switch, max(1.0, watch.left()))
        except WebUIFailed as error:
            chosen = wanted or catalog.checkpoint_meant(str(options.get("sd_model_checkpoint")))
            if pid is not None or chosen is None:
                raise
            first, broken = _rescued(client, watch, catalog, chosen, broken, error), ()
        loaded = first.model
        if pid is None:
            _require_sound(client, watch, catalog, wanted or _loaded(catalog, loaded), broken)
            catalog = learn()  # which embeddings fit depends on the checkpoint, which may have been another before
    except BootFailed:
        raise
    except WorkerError as error:
        watch.pause(POLL_S)
        check(watch)
        raise failure(f"the WebUI could not make a first picture: {error.message}", watch) from error
    baseline = read_baseline(options)
    if wanted is not None and loaded not in _names_of(wanted):
        raise failure(f"the WebUI loaded {loaded!r} in place of {wanted.name!r}", watch)
    found = wanted or _loaded(catalog, loaded)
    return Ready(catalog, baseline, loaded, loaded if found is None else found.title, first.version)


def read_baseline(options: Mapping[str, Any]) -> Baseline:
    """Return what holds, by the WebUI's options, where a job says nothing."""
    return Baseline(
        clip_skip=int(options.get("CLIP_stop_at_last_layers") or 1),
        vae=str(options.get("sd_vae") or "Automatic"),
        names_loras=options.get("lora_add_hashes_to_infotext") is True,
    )


def _names_of(checkpoint: Checkpoint) -> set[str]:
    return {checkpoint.stem, checkpoint.name, checkpoint.title}


def _loaded(catalog: Catalog, name: str) -> Checkpoint | None:
    """Return the only checkpoint whose name an answer may have meant."""
    found = [each for each in catalog.checkpoints if name in _names_of(each)]
    return found[0] if len(found) == 1 else None


def _rescued(
    client: WebUIClient,
    watch: BootWatch,
    catalog: Catalog,
    chosen: Checkpoint,
    broken: Collection[str],
    error: WebUIFailed,
) -> FirstPicture:
    """Return a first picture where there was `error` instead: a model in pieces may also fail outright.

    Without CUDA it does: the bare text encoder looks for it all the same.

    Raises:
        BootFailed, WebUIFailed: it is in pieces for good, or something else is wrong, which `error` told.
    """
    try:
        return _put_together(client, watch, catalog, chosen, broken)
    except BootFailed:
        if broken:
            raise
        raise error from None


def _put_together(
    client: WebUIClient, watch: BootWatch, catalog: Catalog, chosen: Checkpoint, broken: Collection[str]
) -> FirstPicture:
    """Have another checkpoint loaded and `chosen` again; return its first picture. Raises WorkerError."""
    pictures: list[FirstPicture] = []

    def load(checkpoint: Checkpoint) -> bool:
        pictures.append(warm_up(client, checkpoint.title, max(1.0, watch.left())))
        return pictures[-1].model in _names_of(checkpoint)

    external.reload_model(catalog, chosen, avoid=broken, load=load)
    return pictures[-1]


def _require_sound(
    client: WebUIClient, watch: BootWatch, catalog: Catalog, loaded: Checkpoint | None, broken: Collection[str]
) -> None:
    """Return when the model is in one piece; it is loaded again where that is needed. Raises BootFailed."""
    if loaded is None:
        return

    def is_sound() -> bool:
        return external.is_sound(client, loaded.title, timeout=max(1.0, watch.left()))

    if not broken and is_sound():
        return
    _put_together(client, watch, catalog, loaded, broken)
    if not is_sound():
        raise BootFailed(
            f"the WebUI's model {loaded.title!r} does not read weights in prompts, also after it was loaded anew, so "
            "its pictures would be wrong",
            hint=external.CANNOT,
        )


def pin_options(client: WebUIClient, current: Mapping[str, Any]) -> None:
    """Make a WebUI that somebody else started keep jobs apart: write every option as the config file would.

    Overridable options keep their current values, but become known, so that they are restored after each job. The WebUI
    does not take null for an option that it does not know yet; the word None means the same to it.
    """
    told = {name: current[name] for name in options_file.OVERRIDABLE if name in current}
    known = {name: "None" if value is None else value for name, value in told.items()}
    forced = {name: value for name, value in options_file.FORCED.items() if name in current}
    client.post("/sdapi/v1/options", {**known, **forced}, timeout=120.0)


def default_checkpoint(plan: LaunchPlan, catalog: Catalog) -> Checkpoint | None:
    """Return the checkpoint that the WebUI has to start with, None where nothing says so. Raises BootFailed."""
    wanted = plan.checkpoint.name if plan.checkpoint is not None else plan.checkpoint_name
    if not wanted:
        return None
    found = catalog.checkpoint_at(plan.checkpoint) or catalog.checkpoint_meant(wanted)
    if found is None:
        names = ", ".join(c.name for c in catalog.checkpoints) or "none"
        raise BootFailed(f"the default checkpoint {wanted!r} is not in the WebUI's list; it has: {names}")
    return found


class FirstPicture(NamedTuple):
    """The facts of a first picture: the name of the model that made it, and the WebUI's version."""

    model: str
    version: str | None


def warm_up(client: WebUIClient, checkpoint_title: str | None, timeout: float) -> FirstPicture:
    """Make one 64x64 picture of one step and return what it tells."""
    body: dict[str, Any] = {"prompt": "", "steps": 1, "width": 64, "height": 64, "seed": 1, "sampler_name": "Euler"}
    if checkpoint_title is not None:
        body["override_settings"] = {"sd_model_checkpoint": checkpoint_title}
    answer = client.post("/sdapi/v1/txt2img", body, timeout=timeout)
    info = read_info(answer)
    return FirstPicture(str(info.get("sd_model_name", "")), info.get("version"))


def _listing(client: WebUIClient, path: str) -> Any:
    try:
        return client.get(path)
    except (WebUIFailed, WebUIRejected):
        return None


def _cause(error: WorkerError, watch: BootWatch) -> str:
    """Return why the model did not load: the API's message is unrelated, the log names the cause before its own end."""
    lines = list(watch.tail())
    end = next((n for n, line in enumerate(lines) if "Stable diffusion model failed to load" in line), len(lines))
    said = [line.strip() for line in lines[:end] if _EXCEPTION.match(line.strip())]
    return said[-1] if said else str(error.details.get("upstream") or error.message)


def _hint(lines: Sequence[str]) -> str | None:
    text = "\n".join(lines)
    hints = (
        ("address already in use", "Another process uses the port; set WEBUI_PORT."),
        ("SafetensorError", "The checkpoint's file is damaged or not complete; remove it and fetch it again."),
        ("No checkpoints found", "Put a checkpoint into the checkpoints folder or set DEFAULT_CHECKPOINT."),
        ("CUDA driver version is insufficient", CUDA_HINT),
        ("NVIDIA driver on your system is too old", CUDA_HINT),
        ("forward compatibility was attempted", CUDA_HINT),
        ("CUDA initialization: ", CUDA_HINT),
        ("No CUDA GPUs are available", "The driver shows no GPU to the container; let the platform replace it."),
        ("no kernel image is available", "The image's torch has no code for this GPU; use the CUDA 12.8 variant."),
        ("memory_efficient_attention_forward", "xformers can't compute here; set WEBUI_XFORMERS=off."),
        ("Found no NVIDIA driver", "There is no GPU here; set DEVICE=cpu to run without."),
        ("Torch is not able to use GPU", "There is no usable GPU here."),
        ("No space left on device", "The disk is full: give the container, or the volume, more space."),
        ("Read-only file system", "The WebUI has to write where it may not; mount that folder writable."),
        ("ModuleNotFoundError", "A package is missing in the WebUI's environment; check WEBUI_PYTHON."),
    )
    return next((advice for sign, advice in hints if sign in text), None)
