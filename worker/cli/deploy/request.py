"""From the options of ``deploy`` to the bodies that RunPod's REST API v2 takes. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from worker.cli.deploy import gpus
from worker.cli.deploy.deployment_plan import Wanted
from worker.cli.deploy.deployment_presets import INIT_TIMEOUT_S, PRESETS, PresetName
from worker.errors import WorkerError
from worker.settings import Settings, misspelt, read_settings, variables

if TYPE_CHECKING:
    from collections.abc import Sequence

EndpointType = Literal["queue", "load-balancer"]
VolumeType = Literal["standard", "high-performance"]

MARGIN_S = 60
"""RunPod's own deadlines lie this much behind the worker's, so that the worker's answer comes first."""

LOAD_BALANCER_PORT = 80
"""Port on which RunPod's load balancer reaches a worker unless PORT says otherwise."""

_ELSEWHERE = {"RUN_AS", "RUNPOD_INIT_TIMEOUT"}
"""Variables that start.sh and RunPod read, not the worker."""

_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Misuse(Exception):
    """The options contradict each other, or name what there is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of ``deploy``; None: the preset's, or RunPod's own default."""

    image: str
    name: str = "a1111-worker"
    preset: PresetName = "sd15"
    type: EndpointType = "queue"
    env: Sequence[str] = ()
    gpu: Sequence[str] = ()
    cuda: gpus.Cuda | None = None
    workers_min: int = 0
    workers_max: int | None = None
    idle_timeout: int | None = None
    disk_gb: int = 30
    volume_id: str | None = None
    volume_gb: int | None = None
    volume_type: VolumeType | None = None
    data_center: str | None = None
    registry_auth: str | None = None

    @property
    def variant(self) -> gpus.Cuda:
        """The image's CUDA variant: as said, else by the end of its tag, else the default build."""
        return self.cuda or ("cu128" if self.image.endswith("cu128") else "cu121")


def check(options: Options) -> None:
    """Find what is wrong with the options without RunPod's catalogue.

    Raises:
        Misuse: The options can't be followed.
    """
    _, settings = _environment(options)
    _check_volume(options)
    _scaling(options, settings)


def wanted(options: Options, catalogue: Sequence[gpus.GpuType]) -> tuple[Wanted, tuple[str, ...]]:
    """Return the resources as they should be, and notes for the person who asks.

    Raises:
        Misuse: The options can't be followed.
        NoGpus: RunPod does not offer the GPUs.
    """
    check(options)
    environment, settings = _environment(options)
    choice = gpus.choose(options.gpu or PRESETS[options.preset].gpus, catalogue, cuda=options.variant)
    endpoint: dict[str, Any] = {
        "name": options.name,
        "type": "QUEUE" if options.type == "queue" else "LOAD_BALANCER",
        "image": options.image,
        "disk": options.disk_gb,
        "env": {
            "RUNPOD_INIT_TIMEOUT": str(max(INIT_TIMEOUT_S, round(settings.boot_timeout_s) + MARGIN_S)),
            **environment,
        },
        "gpu": {
            "pools": list(choice.pools),
            **({"excludedTypes": list(choice.excluded)} if choice.excluded else {}),
            "count": 1,
            "minCudaVersion": gpus.LEAST_CUDA[options.variant],
        },
        "flashboot": "FLASHBOOT",
        "timeout": round(settings.job_timeout_s + MARGIN_S) * 1000,
        **_scaling(options, settings),
    }
    if options.type == "load-balancer":
        endpoint["ports"] = [f"{LOAD_BALANCER_PORT}/http"]
    if options.registry_auth:
        endpoint["registry"] = options.registry_auth
    if options.volume_id:
        endpoint["networkVolumes"] = [options.volume_id]
    if options.data_center:
        endpoint["dataCenterIds"] = [options.data_center]
    volume = None
    if options.volume_gb is not None:
        volume = {"name": options.name, "size": options.volume_gb, "dataCenter": options.data_center}
        if options.volume_type:
            volume["type"] = options.volume_type.upper().replace("-", "_")
    return Wanted(endpoint=endpoint, volume=volume), choice.notes


def _scaling(options: Options, settings: Settings) -> dict[str, Any]:
    """Return ``workers`` and ``scaling``; RunPod refuses an idle time-out for a queue that scales by request count."""
    preset = PRESETS[options.preset]
    workers = {
        "min": options.workers_min,
        "max": preset.workers_max if options.workers_max is None else options.workers_max,
    }
    if workers["min"] > workers["max"]:
        raise Misuse("--workers-min is larger than the most workers")
    by_count = preset.scaler == "REQUEST_COUNT"
    if options.type == "queue" and by_count and options.idle_timeout is not None:
        raise Misuse(
            f"--idle-timeout: RunPod takes none for a queue that scales by request count, as the preset "
            f"{options.preset} does"
        )
    if options.type == "load-balancer" or not by_count:
        workers["idleTimeout"] = preset.idle_s if options.idle_timeout is None else options.idle_timeout
    if options.type == "load-balancer":
        count = preset.scaler_value if by_count else settings.concurrency
        return {"workers": workers, "scaling": {"type": "REQUEST_COUNT", "requestCount": count}}
    if by_count:
        return {"workers": workers, "scaling": {"type": "REQUEST_COUNT", "requestCount": preset.scaler_value}}
    return {"workers": workers, "scaling": {"type": "QUEUE_DELAY", "queueDelay": preset.scaler_value}}


def _check_volume(options: Options) -> None:
    if options.volume_gb is not None and not options.data_center:
        raise Misuse("--volume-gb needs --data-center: a volume lies in one data center, and so do its workers")
    if options.volume_gb is not None and options.volume_id:
        raise Misuse("--volume-gb and --volume-id exclude each other")
    if options.volume_type and options.volume_gb is None:
        raise Misuse("--volume-type is about the volume that --volume-gb makes")


def _environment(options: Options) -> tuple[dict[str, str], Settings]:
    """Return the preset's variables with the given ones over them, and the worker's settings under these."""
    given: dict[str, str] = {}
    for item in options.env:
        name, equals, value = item.partition("=")
        if not equals:
            raise Misuse(f"--env {item}: NAME=VALUE is needed")
        if not _VARIABLE_NAME.fullmatch(name):
            raise Misuse(f"--env {name!r}: a variable's name has letters, digits and _ alone, and begins with no digit")
        given[name] = value
    environment = {name: str(value) for name, value in PRESETS[options.preset].environment.items()} | given
    try:
        settings = read_settings({name: value for name, value in environment.items() if "{{" not in value})
    except WorkerError as error:
        raise Misuse(f"--env: {error.message}") from error
    return environment, settings


def near_misses(options: Options) -> list[str]:
    """Return a sentence for each variable whose name is nearly, but not quite, one that the worker reads."""
    return misspelt([name for item in options.env if (name := item.partition("=")[0]) not in _ELSEWHERE])


def secret_names() -> set[str]:
    """Return the variables whose values are not shown."""
    return {name for variable in variables() if variable.secret for name in variable.names}
