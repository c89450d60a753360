"""Every environment variable of the worker, read once.

Each field is one variable, a `knobs.Knob`: its name, how it is read and its line of documentation. README's table is
generated from here. Secrets never leave this class in clear except through `get_secret_value`.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from worker import knobs
from worker.errors import SettingsInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VOLUME = Path("/runpod-volume")
IMAGE_WEBUI_DIR = Path("/opt/webui")
"""Where the image keeps A1111 when WEBUI_DIR says nothing."""

ModelKind = Literal["checkpoint", "lora", "embedding", "vae", "controlnet", "upscaler"]
MODEL_KINDS: tuple[ModelKind, ...] = ("checkpoint", "lora", "embedding", "vae", "controlnet", "upscaler")
_FOLDERS: dict[str, str] = {
    "checkpoint": "checkpoints",
    "lora": "loras",
    "embedding": "embeddings",
    "vae": "vae",
    "controlnet": "controlnet",
    "upscaler": "upscalers",
}


Switch = Literal["auto", "on", "off"]
Way = Literal["auto", "base64", "s3"]
Form = Literal["native", "a1111"]
LinkCheck = Literal["once", "always", "off"]
Deed = Literal["flag", "blur", "refuse"]
Previews = Literal["off", "cheap", "full"]
Level = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "pretty"]
SdkLevel = Literal["notset", "trace", "debug", "info", "warn", "error"]


def _splittable(value: str) -> str:
    shlex.split(value)
    return value


def _hosts(value: str) -> str:
    if "://" in value:
        raise ValueError("must name hosts, not URLs")
    return value


def _url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return value.rstrip("/")


def _path(value: str) -> str:
    if not value.startswith("/") or "?" in value or "{" in value:
        raise ValueError("must be a path that starts with /")
    return value


def _header(value: str) -> str:
    bare = value.strip()
    if not bare.isascii() or not bare.isprintable():
        raise ValueError("must be plain ASCII text on one line")
    return bare


@dataclass(frozen=True, slots=True)
class Settings:
    """The worker's configuration; immutable after it was read."""

    # Where the WebUI is
    webui_dir: Path | None = knobs.path(None, "WEBUI_DIR", "Folder of an A1111 v1.10 checkout that the worker starts.")
    webui_url: str | None = knobs.text(
        None, "WEBUI_URL", "Address of an A1111 that is already running; nothing is started.", check=_url
    )
    webui_python: Path | None = knobs.path(
        None, "WEBUI_PYTHON", "Python of the WebUI's own environment; default: `venv/bin/python` in WEBUI_DIR."
    )
    webui_port: int = knobs.whole(3000, "WEBUI_PORT", "Port of the WebUI on loopback.", ge=1, le=65535)
    webui_args: str = knobs.text(
        "", "WEBUI_ARGS", "More command line arguments for the WebUI, quoted as in a shell.", check=_splittable
    )
    webui_xformers: Switch = knobs.choice(
        Switch,
        "auto",
        "WEBUI_XFORMERS",
        "Pass --xformers; auto: when the WebUI's Python can import it and there is no --use-cpu.",
    )
    webui_disable_safe_unpickle: bool = knobs.flag(
        "WEBUI_DISABLE_SAFE_UNPICKLE",
        "Pass --disable-safe-unpickle. Loads faster, but a pickled model file can then run any code.",
        default=False,
    )

    webui_hub_dir: Path | None = knobs.path(
        None,
        "WEBUI_HUB_DIR",
        "Hugging Face cache of the WebUI; when set, it is started offline with it (the image sets it).",
    )
    webui_disable_mmap: Switch = knobs.choice(
        Switch,
        "auto",
        "WEBUI_DISABLE_MMAP",
        "Read models sequentially in place of mmap; auto: when they lie on a volume or network file system.",
    )

    # Models
    models_dir: Path | None = knobs.path(
        None, "MODELS_DIR", "Root of the model folders; default: /runpod-volume/models with a volume, else ./models."
    )
    checkpoint_dir: Path | None = knobs.path(None, "CHECKPOINT_DIR", "Checkpoints; default: MODELS_DIR/checkpoints.")
    lora_dir: Path | None = knobs.path(None, "LORA_DIR", "LoRAs; default: MODELS_DIR/loras.")
    embedding_dir: Path | None = knobs.path(None, "EMBEDDING_DIR", "Embeddings; default: MODELS_DIR/embeddings.")
    vae_dir: Path | None = knobs.path(None, "VAE_DIR", "VAEs; default: MODELS_DIR/vae.")
    controlnet_dir: Path | None = knobs.path(None, "CONTROLNET_DIR", "ControlNets; default: MODELS_DIR/controlnet.")
    upscaler_dir: Path | None = knobs.path(
        None, "UPSCALER_DIR", "Upscalers (ESRGAN, R-ESRGAN); default: MODELS_DIR/upscalers."
    )
    default_checkpoint: str = knobs.text(
        "",
        "DEFAULT_CHECKPOINT",
        "Checkpoint loaded at start: a catalog name or a file name; default: the only one there, else Deliberate v6.",
    )
    civitai_token: knobs.Secret | None = knobs.secret(
        "CIVITAI_API_KEY", "CivitAI token; sent to civitai.com only.", also=("CIVITAI_TOKEN",), check=_header
    )
    hf_token: knobs.Secret | None = knobs.secret(
        "HF_TOKEN", "Hugging Face token; sent to huggingface.co only.", check=_header
    )
    model_allow_pickle: bool = knobs.flag(
        "MODEL_ALLOW_PICKLE",
        "Also fetch .ckpt, .pt, .pth and .bin files. Loading such a file can run any code that is in it.",
        default=False,
    )
    model_connections: int = knobs.whole(
        16, "MODEL_CONNECTIONS", "Parallel connections for one file; fewer when the server refuses them.", ge=1, le=32
    )
    model_downloads: int = knobs.whole(2, "MODEL_DOWNLOADS", "Files fetched at once.", ge=1, le=8)
    model_max_bytes: int = knobs.whole(
        50_000_000_000, "MODEL_MAX_BYTES", "Of one fetched file; larger ones are refused.", unit="bytes", ge=1000
    )
    model_evict: bool = knobs.flag(
        "MODEL_EVICT",
        "When space runs out, remove the least recently used fetched models; never files put there by hand.",
        default=True,
    )
    model_free_bytes: int = knobs.whole(
        2_000_000_000, "MODEL_FREE_BYTES", "Kept free on the volume when a model is fetched.", unit="bytes", ge=0
    )
    model_remove: bool = knobs.flag("MODEL_REMOVE", "Jobs may remove models (action models.remove).", default=False)
    model_lease_s: float = knobs.number(
        30,
        "MODEL_LEASE_S",
        "A worker that fetches a model and gives no sign for this long is taken for dead; another goes on.",
        unit="s",
        ge=1,
        le=600,
    )
    model_readahead: bool = knobs.flag(
        "MODEL_READAHEAD",
        "Read the default checkpoint into memory while the WebUI starts, and the next job's while the GPU works.",
        default=True,
    )

    staging_dir: Path | None = knobs.path(
        None,
        "STAGING_DIR",
        "Folder on a fast local disk: checkpoints that are used are copied there, and loaded from there the next time. "
        "Default: no copies.",
    )
    staging_free_bytes: int = knobs.whole(
        5_000_000_000, "STAGING_FREE_BYTES", "Kept free on the disk of STAGING_DIR.", unit="bytes", ge=0
    )

    # Deadlines
    boot_timeout_s: float = knobs.number(
        600, "BOOT_TIMEOUT_S", "Until the WebUI has loaded its model.", unit="s", gt=0, le=7200
    )
    job_timeout_s: float = knobs.number(
        600, "JOB_TIMEOUT_S", "For one job, waiting included.", unit="s", gt=0, le=86400
    )
    idle_timeout_s: float = knobs.number(
        30,
        "IDLE_TIMEOUT_S",
        "For an interrupted WebUI to become idle before it counts as hung.",
        unit="s",
        gt=0,
        le=600,
    )
    connect_timeout_s: float = knobs.number(
        5, "CONNECT_TIMEOUT_S", "For a connection to the WebUI.", unit="s", gt=0, le=60
    )

    stall_timeout_s: float = knobs.number(
        120,
        "STALL_TIMEOUT_S",
        "Without progress before a generation counts as hung, for a batch of up to one megapixel; larger get more.",
        unit="s",
        gt=0,
        le=3600,
    )

    # Recovery
    reruns: int = knobs.whole(
        1,
        "RERUNS",
        "How often a job is run again (same seeds) after one kind of failure that may not repeat: a crash, a stall, a "
        "wrong answer.",
        ge=0,
        le=3,
    )
    restarts: int = knobs.whole(
        5,
        "RESTARTS",
        "Restarts of the WebUI within RESTART_WINDOW_S before the worker gives up.",
        ge=0,
        le=100,
    )
    restart_window_s: float = knobs.number(600, "RESTART_WINDOW_S", "See RESTARTS.", unit="s", gt=0, le=86400)
    poison_s: float = knobs.number(
        900, "POISON_S", "How long a job that has killed the WebUI twice is refused.", unit="s", ge=0, le=86400
    )

    stop_grace_s: float = knobs.number(
        600,
        "STOP_GRACE_S",
        "After SIGTERM: how long running jobs may take; then they are answered with a retryable error.",
        unit="s",
        gt=0,
        le=86400,
    )
    recycle_growth_bytes: int = knobs.whole(
        3_000_000_000,
        "RECYCLE_GROWTH_BYTES",
        "Steady growth of the WebUI's memory (RAM or VRAM) over 24 jobs after which it is restarted between two; "
        "0: never.",
        unit="bytes",
        ge=0,
    )
    results_dir: Path | None = knobs.path(
        None,
        "RESULTS_DIR",
        "Where answers are kept for jobs that are handed out again; default: /runpod-volume/worker-results in "
        "production with a volume, else nowhere.",
    )
    result_retention_s: float = knobs.number(
        3600, "RESULT_RETENTION_S", "How long they are kept; 0: not at all.", unit="s", ge=0, le=604800
    )

    # Throughput
    concurrency: int = knobs.whole(
        2,
        "CONCURRENCY",
        "Jobs held at once. One generates; the others upload or wait, so the GPU never idles between jobs. "
        "With more than 1 a waiting job is claimed early and the autoscaler sees a shorter queue.",
        ge=1,
        le=16,
    )

    group_wait_s: float = knobs.number(
        0,
        "GROUP_WAIT_S",
        "How long a waiting job lets others pass whose checkpoint is loaded already; 0: strictly in order. Useful with "
        "CONCURRENCY of 3 or more.",
        unit="s",
        ge=0,
        le=600,
    )

    # Delivery
    delivery: Way = knobs.choice(
        Way,
        "auto",
        "DELIVERY",
        "base64: inline; s3: URLs; auto: inline while the answer fits, else S3 when a store is configured.",
    )
    answer_form: Form = knobs.choice(
        Form,
        "native",
        "ANSWER_FORM",
        "Shape of answers to jobs with no other fields than the WebUI's own; a1111: the WebUI's {images, parameters, "
        "info}, info as a JSON text, for clients of runpod-workers/worker-a1111.",
    )
    bucket_endpoint_url: str | None = knobs.text(
        None,
        "BUCKET_ENDPOINT_URL",
        "S3 endpoint; the bucket may be part of the host or path as RunPod users write it.",
        check=_url,
    )
    bucket_access_key_id: knobs.Secret | None = knobs.secret("BUCKET_ACCESS_KEY_ID", "S3 access key.", check=_header)
    bucket_secret_access_key: knobs.Secret | None = knobs.secret(
        "BUCKET_SECRET_ACCESS_KEY", "S3 secret key.", check=_header
    )
    bucket_name: str | None = knobs.text(None, "BUCKET_NAME", "S3 bucket, when the endpoint does not name it.")
    bucket_region: str | None = knobs.text(
        None, "BUCKET_REGION", "S3 region; default: from the endpoint, else us-east-1."
    )
    bucket_prefix: str = knobs.text("", "BUCKET_PREFIX", "Put before every key: `<prefix>/<job id>/<n>-<seed>.<ext>`.")
    bucket_url_expiry_s: int = knobs.whole(
        86400, "BUCKET_URL_EXPIRY_S", "Life of presigned URLs.", unit="s", ge=60, le=604800
    )
    bucket_link_check: LinkCheck = knobs.choice(
        LinkCheck,
        "once",
        "BUCKET_LINK_CHECK",
        "Whether links are opened before they are handed out: the first and then one an hour, each (always), or none "
        "(off): where links open for clients only.",
    )
    bucket_public_url: str | None = knobs.text(
        None,
        "BUCKET_PUBLIC_URL",
        "Base URL under which the bucket is public; set: plain URLs instead of presigned.",
        check=_url,
    )

    # Network
    allow_hosts: str = knobs.text(
        "",
        "ALLOW_HOSTS",
        "Hosts that jobs may name although they are not public, separated by commas: name, name:port, address or "
        "network (10.1.0.0/16).",
        check=_hosts,
    )

    # Limits
    max_pixels: int = knobs.whole(
        4 * 1024 * 1024,
        "MAX_PIXELS",
        "Of one GPU batch (width x height x batch_size); a larger batch is split over n_iter with the same seeds.",
        unit="pixels",
        ge=64 * 64,
    )
    max_images: int = knobs.whole(16, "MAX_IMAGES", "Pictures of one job.", unit="pictures", ge=1, le=1000)
    max_input_bytes: int = knobs.whole(
        100_000_000,
        "MAX_INPUT_BYTES",
        "Of one request over HTTP; on a load-balancing endpoint of RunPod 30 MB where nothing is set.",
        unit="bytes",
        ge=1000,
    )
    max_input_pixels: int = knobs.whole(
        64 * 1024 * 1024, "MAX_INPUT_PIXELS", "Of one picture that a job brings.", unit="pixels", ge=64 * 64
    )
    fetch_timeout_s: float = knobs.number(
        30, "FETCH_TIMEOUT_S", "For one picture that a job names by URL.", unit="s", gt=0, le=600
    )
    max_output_bytes: int = knobs.whole(
        9_500_000,
        "MAX_OUTPUT_BYTES",
        "Of one answer's JSON; the platform drops larger ones (10 MB for /run, 20 MB for /runsync). Over HTTP where "
        "nothing is set: 30 MB on a load-balancing endpoint, 100 MB elsewhere.",
        unit="bytes",
        ge=1000,
    )

    # What the operator offers
    presets_file: Path | None = knobs.path(
        None, "PRESETS_FILE", "Presets (YAML) over those that ship; default: presets.yaml in MODELS_DIR."
    )
    wildcards_dir: Path | None = knobs.path(
        None, "WILDCARDS_DIR", "Lists for `__name__` in prompts, name.txt; default: wildcards in MODELS_DIR."
    )
    prompt_policy_file: Path | None = knobs.path(
        None, "PROMPT_POLICY_FILE", "Rules on prompts (YAML): refuse or flag words and patterns; default: none."
    )

    image_check: str = knobs.text(
        "",
        "IMAGE_CHECK",
        "Looks at every picture before it is delivered: `onnx`, or `package.module:factory` of your own; default: "
        "none. A check that can't be loaded keeps the worker from starting.",
    )
    image_check_action: Deed = knobs.choice(
        Deed,
        "refuse",
        "IMAGE_CHECK_ACTION",
        "What is done with a picture that it minds: flag: delivered and said so; blur: made unrecognisable; refuse: "
        "not delivered.",
    )
    image_check_model: Path | None = knobs.path(
        None,
        "IMAGE_CHECK_MODEL",
        "The classifier (ONNX) of IMAGE_CHECK=onnx, its config.json and preprocessor_config.json beside it; never "
        "downloaded.",
    )
    image_check_labels: str = knobs.text(
        "nsfw", "IMAGE_CHECK_LABELS", "Which of its labels are minded, separated by commas."
    )
    image_check_threshold: float = knobs.number(
        0.5, "IMAGE_CHECK_THRESHOLD", "Score from which a label counts, 0 to 1.", gt=0, le=1
    )
    live_previews: Previews = knobs.choice(
        Previews,
        "off",
        "LIVE_PREVIEWS",
        "Whether jobs may have the unfinished picture in their progress (`live_previews`). cheap: an eighth of the "
        "size in rough colours, next to nothing; full: decoded by the VAE each time, which costs GPU time.",
    )
    live_preview_every_s: float = knobs.number(
        2, "LIVE_PREVIEW_EVERY_S", "Least time between two previews of a job.", unit="s", ge=0.5, le=60
    )

    # Operating
    metrics_port: int = knobs.whole(
        0, "METRICS_PORT", "Serve figures for Prometheus at /metrics on this port; 0: not at all.", ge=0, le=65535
    )
    metrics_push_url: str | None = knobs.text(
        None,
        "METRICS_PUSH_URL",
        "Pushgateway that gets the figures: serverless workers go before they are scraped.",
        check=_url,
    )
    metrics_push_every_s: float = knobs.number(
        15, "METRICS_PUSH_EVERY_S", "How often figures are pushed.", unit="s", ge=1, le=3600
    )
    port_health: int = knobs.whole(
        0,
        "PORT_HEALTH",
        "Answer /ping on this port: 200 when jobs can be taken, 204 while starting; 0: not at all. RunPod sets it for "
        "load-balancing endpoints.",
        ge=0,
        le=65535,
    )
    health_check_path: str = knobs.text(
        "/ping", "HEALTH_CHECK_PATH", "One more path that is answered as /ping is; RunPod sets it.", check=_path
    )

    # HTTP mode (`python -m worker serve`)
    http_port: int = knobs.whole(
        8000,
        "HTTP_PORT",
        "Port of `python -m worker serve`; on a load-balancing endpoint of RunPod 80 where nothing is set.",
        ge=1,
        le=65535,
        also=("PORT",),
    )
    http_host: str = knobs.text(
        "127.0.0.1",
        "HTTP_HOST",
        "Address that it listens on; 0.0.0.0 for every interface, which wants HTTP_API_KEY. On a load-balancing "
        "endpoint 0.0.0.0 where nothing is set.",
    )
    http_api_key: knobs.Secret | None = knobs.secret(
        "HTTP_API_KEY",
        "Key that its clients send as `Authorization: Bearer …`, as the password of Basic, or as `X-API-Key`; default: "
        "none is asked for. None is needed behind RunPod's load balancing, which asks for RunPod's key.",
        check=_header,
    )
    http_key_in_url: bool = knobs.flag(
        "HTTP_KEY_IN_URL",
        "Clients may also send that key as `?api_key=…`, which ends up in logs of proxies.",
        default=False,
    )
    http_line: int = knobs.whole(
        100, "HTTP_LINE", "Jobs that may wait there; more get 429.", unit="jobs", ge=1, le=100000
    )
    http_keep_s: float = knobs.number(1800, "HTTP_KEEP_S", "How long it keeps an answer.", unit="s", ge=1, le=86400)
    webhook_secret: knobs.Secret | None = knobs.secret(
        "WEBHOOK_SECRET", "Signs what it posts to a job's `webhook`, by Standard Webhooks (`whsec_…`)."
    )

    # For people
    log_level: Level = knobs.choice(Level, "info", "LOG_LEVEL", "Least level that is logged.")
    log_format: LogFormat = knobs.choice(
        LogFormat,
        "auto",
        "LOG_FORMAT",
        "json: a line per event; pretty: for a terminal; auto: pretty on a terminal, else json.",
    )
    log_prompts: bool = knobs.flag("LOG_PROMPTS", "Prompts may appear in logs.", default=True)
    out_dir: Path = knobs.path(Path("out"), "OUT_DIR", "Where local runs leave their pictures and answer.json.")

    # What the platform sets
    runpod_get_job: str | None = knobs.text(
        None, "RUNPOD_WEBHOOK_GET_JOB", "Set by RunPod: jobs come from there; its presence means production."
    )
    runpod_log_level: SdkLevel | None = knobs.choice(
        SdkLevel,
        None,
        "RUNPOD_LOG_LEVEL",
        "Least level that RunPod's SDK logs; default: as LOG_LEVEL.",
        synonyms={"warning": "warn"},
    )
    nvidia_visible_devices: str | None = knobs.text(
        None, "NVIDIA_VISIBLE_DEVICES", "Set by NVIDIA's container runtime: a GPU was promised, so there has to be one."
    )
    runpod_pod_id: str | None = knobs.text(None, "RUNPOD_POD_ID", "Set by RunPod: the id of this worker.")

    @property
    def in_production(self) -> bool:
        """Whether RunPod's job environment is present."""
        return bool(self.runpod_get_job)

    @property
    def results_root(self) -> Path | None:
        """Where answers are kept, None: nowhere."""
        if self.results_dir is not None:
            return self.results_dir
        return VOLUME / "worker-results" if self.in_production and VOLUME.is_dir() else None

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """The entries of ALLOW_HOSTS."""
        return tuple(entry.strip() for entry in self.allow_hosts.split(",") if entry.strip())

    @property
    def models_root(self) -> Path:
        """The root of the model folders."""
        if self.models_dir is not None:
            return self.models_dir
        return VOLUME / "models" if VOLUME.is_dir() else Path("models")

    @property
    def on_cpu(self) -> bool:
        """Whether the WebUI is told to do without a GPU."""
        return "--use-cpu" in shlex.split(self.webui_args)

    @property
    def gpu_promised(self) -> bool:
        """Whether whoever started the container says that there is a GPU."""
        return (self.nvidia_visible_devices or "void").lower() not in {"void", "none"}

    def logs_as_json(self, stream: TextIO) -> bool:
        """Whether logs written to `stream` are JSON."""
        return self.log_format == "json" or (self.log_format == "auto" and not stream.isatty())

    def secrets(self) -> list[str]:
        """Return every secret value, for the log's filter."""
        values = (getattr(self, name) for name, knob in knobs.of(type(self)) if knob.secret)
        return [value.get_secret_value() for value in values if value is not None]

    def folder(self, kind: ModelKind) -> Path:
        """Return the folder of models of `kind`."""
        own: Path | None = getattr(self, f"{kind}_dir")
        return own if own is not None else self.models_root / _FOLDERS[kind]


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings in `environment`.

    Raises:
        SettingsInvalid: names every bad variable, its value (unless secret) and what is allowed.
    """
    values: dict[str, Any] = {}
    complaints = []
    for field, knob in knobs.of(Settings):
        name = next((name for name in knob.names if environment.get(name, "").strip()), None)
        if name is None:
            continue
        said = environment[name]
        try:
            values[field] = knob.read(said)
        except ValueError as error:
            complaints.append(f"{name}: {error}" if knob.secret else f"{name}={said!r}: {error}")
    if not complaints and values.get("delivery") == "s3" and "bucket_endpoint_url" not in values:
        complaints.append("DELIVERY=s3 needs BUCKET_ENDPOINT_URL")
    if complaints:
        raise SettingsInvalid("; ".join(complaints), hint="README lists every variable, its type and default.")
    return Settings(**values)


class SettingRow:
    """One line of the settings table."""

    __slots__ = ("about", "default", "names", "secret", "type", "unit")

    def __init__(
        self, *, names: tuple[str, ...], type_: str, default: str, unit: str, about: str, secret: bool
    ) -> None:
        self.names = names
        self.type = type_
        self.default = default
        self.unit = unit
        self.about = about
        self.secret = secret


def rows() -> Iterator[SettingRow]:
    """Yield every variable in the order of the class."""
    for _, knob in knobs.of(Settings):
        default = "" if knob.default is None or knob.default == "" else str(knob.default)
        yield SettingRow(
            names=knob.names,
            type_=" \\| ".join(knob.choices) or knob.kind,
            default=default.lower() if knob.kind == "bool" else default,
            unit=knob.unit,
            about=knob.about,
            secret=knob.secret,
        )
