"""The worker's configuration: every environment variable, with its type, bounds, default and description.

The tables of docs/settings.md are generated from here, one for each comment that heads a group of fields. Secrets are
`SecretStr`: only `get_secret_value` returns them in clear.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO, get_args

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from worker.common.env_fields import (
    AnyCase,
    Bytes,
    EnvironmentSource,
    HeaderSecret,
    Pixels,
    Seconds,
    Unit,
    Url,
    Variable,
    WholeSeconds,
    complaints,
    variables_of,
)
from worker.common.redaction import hide_url_credentials, is_secret_name, url_credentials
from worker.common.suggestions import nearest
from worker.errors import SettingsInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from typing_extensions import Self

VOLUME = Path("/runpod-volume")
IMAGE_WEBUI_DIR = Path("/opt/webui")
"""Folder of A1111 in the image, used when WEBUI_DIR says nothing."""

ModelKind = Literal["checkpoint", "lora", "embedding", "vae", "controlnet", "upscaler", "detector", "annotator"]
MODEL_KINDS: tuple[ModelKind, ...] = get_args(ModelKind)
LISTED_AT_START: frozenset[ModelKind] = frozenset({"controlnet", "upscaler", "detector", "annotator"})
"""Kinds whose files the WebUI looks for once, when it starts: no job tells which of them it uses."""
_FOLDERS: dict[str, str] = {
    "checkpoint": "checkpoints",
    "lora": "loras",
    "embedding": "embeddings",
    "vae": "vae",
    "controlnet": "controlnet",
    "upscaler": "upscalers",
    "detector": "detectors",
    "annotator": "annotators",
}

A1111_FOLDERS: dict[str, tuple[str, ...]] = {
    "checkpoint": ("Stable-diffusion",),
    "lora": ("Lora", "LyCORIS"),
    "vae": ("VAE",),
    "controlnet": ("ControlNet",),
    "upscaler": ("ESRGAN", "RealESRGAN"),
    "detector": ("adetailer",),
}
"""Names that A1111 itself gives the folders below its ``models``, by kind."""

REPLACED = {"RECYCLE_GROWTH_BYTES": "set RECYCLE_MEMORY_SHARE, 0 to 1, instead"}
"""Variables of earlier versions that would silently have no effect, and their successors."""
_HELD_BACK = ("RUNPOD_", "AWS_", "OTEL_")
"""Prefixes of variables that are for the worker alone, whatever they hold."""
_LEAST_CONTAINED_SECRET = 8
"""Characters; a shorter secret within a longer value is a coincidence."""
_LEAST_TYPO_SIMILARITY = 0.82
"""`difflib` ratio: BUCKET_SECRET_KEY is near BUCKET_SECRET_ACCESS_KEY, HTTP_PROXY is not near HTTP_PORT."""


def _warn(value: Any) -> Any:
    return "warn" if value == "warning" else value


DeviceChoice = Annotated[Literal["auto", "cuda", "cpu"], AnyCase]
VramChoice = Annotated[Literal["auto", "full", "medium", "low"], AnyCase]
Switch = Annotated[Literal["auto", "on", "off"], AnyCase]
DeliveryMode = Annotated[Literal["auto", "base64", "s3"], AnyCase]
AnswerForm = Annotated[Literal["native", "a1111"], AnyCase]
UnknownFieldRule = Annotated[Literal["auto", "refuse", "warn"], AnyCase]
LinkCheck = Annotated[Literal["once", "always", "off"], AnyCase]
ImageCheckAction = Annotated[Literal["flag", "blur", "refuse"], AnyCase]
Previews = Annotated[Literal["off", "cheap", "full"], AnyCase]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], AnyCase]
LogFormat = Annotated[Literal["auto", "json", "pretty"], AnyCase]
SdkLogLevel = Annotated[Literal["notset", "trace", "debug", "info", "warn", "error"], BeforeValidator(_warn), AnyCase]


def _shell_words(value: str) -> str:
    try:
        shlex.split(value)
    except ValueError as error:
        raise ValueError(f"must be quoted as in a shell ({error})") from None
    return value


def _url_path(value: str) -> str:
    if not value.startswith("/") or "?" in value or "{" in value:
        raise ValueError("must be a path that starts with /")
    return value


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


class Settings(BaseSettings):
    """The worker's configuration; immutable. `read_settings` makes one from a mapping of environment variables."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    # The WebUI
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

    # Models
    models_dir: Path | None = Field(
        None,
        description=(
            "Root of the model folders; default: /runpod-volume/models with a volume, else A1111's own folders in "
            "WEBUI_DIR, else ./models."
        ),
    )
    checkpoint_dir: Path | None = Field(None, description="Checkpoints; default: MODELS_DIR/checkpoints.")
    lora_dir: Path | None = Field(None, description="LoRAs; default: MODELS_DIR/loras.")
    embedding_dir: Path | None = Field(None, description="Embeddings; default: MODELS_DIR/embeddings.")
    vae_dir: Path | None = Field(None, description="VAEs; default: MODELS_DIR/vae.")
    controlnet_dir: Path | None = Field(None, description="ControlNets; default: MODELS_DIR/controlnet.")
    upscaler_dir: Path | None = Field(None, description="Upscalers (ESRGAN, R-ESRGAN); default: MODELS_DIR/upscalers.")
    detector_dir: Path | None = Field(None, description="ADetailer's detectors; default: MODELS_DIR/detectors.")
    annotator_dir: Path | None = Field(
        None, description="Weights of ControlNet's preprocessors; default: MODELS_DIR/annotators."
    )
    default_checkpoint: str = Field(
        "",
        description=(
            "Checkpoint loaded at start: a catalog name or a file name; default: the only one there, else "
            "Deliberate v6."
        ),
    )
    civitai_token: HeaderSecret | None = Field(
        None,
        validation_alias=AliasChoices("CIVITAI_API_KEY", "CIVITAI_TOKEN"),
        description="CivitAI token; sent to civitai.com only.",
    )
    hf_token: HeaderSecret | None = Field(None, description="Hugging Face token; sent to huggingface.co only.")
    hf_endpoint: Url | None = Field(
        None, description="Mirror that is asked in the place of https://huggingface.co for `hf:` and its page URLs."
    )
    hf_endpoint_token: bool = Field(default=False, description="HF_TOKEN is sent to HF_ENDPOINT too.")
    model_buckets: str = Field(
        "",
        description=(
            "Buckets of the store that `s3://` may name, separated by commas; default: the one of BUCKET_ENDPOINT_URL "
            "and BUCKET_NAME alone."
        ),
    )
    model_allow_pickle: bool = Field(
        default=False,
        description="Also fetch .ckpt, .pt, .pth and .bin files. Loading such a file can run any code that is in it.",
    )
    model_connections: int = Field(
        16, ge=1, le=32, description="Parallel connections for one file; fewer when the server refuses them."
    )
    model_downloads: int = Field(2, ge=1, le=8, description="Files fetched at once.")
    model_max_bytes: Bytes = Field(50000000000, ge=1000, description="Of one fetched file; larger ones are refused.")
    model_evict: bool = Field(
        default=True,
        description=(
            "When space runs out, remove the least recently used fetched models; never files put there by hand."
        ),
    )
    model_free_bytes: Bytes = Field(2000000000, ge=0, description="Kept free on the volume when a model is fetched.")
    model_remove: bool = Field(default=False, description="Jobs may remove models (action models.remove).")
    model_lease_s: Seconds = Field(
        30,
        ge=1,
        le=600,
        description=(
            "A worker that fetches a model and shows no sign of life for this long counts as dead; another takes over."
        ),
    )
    model_readahead: bool = Field(
        default=True,
        description=(
            "Read the default checkpoint into memory while the WebUI starts, and the next job's while the GPU works."
        ),
    )
    staging_dir: Path | None = Field(
        None,
        description=(
            "Folder on a fast local disk: checkpoints are copied there when they are used, and loaded from there the "
            "next time. Default: no copies."
        ),
    )
    staging_free_bytes: Bytes = Field(5000000000, ge=0, description="Kept free on the disk of STAGING_DIR.")

    # Deadlines
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
            "Without progress before a generation counts as hung, for a batch of up to one megapixel; larger get more."
        ),
    )

    # Recovery
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

    # Throughput
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

    # Result cache
    result_cache: Annotated[Literal["off", "volume", "s3"], AnyCase] = Field(
        "off",
        description=(
            "Where pictures with a fixed seed are kept, so that the same job again costs nothing: on the volume "
            "(RESULT_CACHE_DIR) or in the operator's store."
        ),
    )
    result_cache_dir: Path | None = Field(
        None, description="Folder of RESULT_CACHE=volume; default: result-cache beside the model folders."
    )
    result_cache_age_s: Seconds = Field(2_592_000, gt=0, description="Older pictures are made anew.")
    result_cache_bytes: Bytes = Field(
        20_000_000_000, ge=1_000_000, description="Of everything that is kept; the least recently used goes first."
    )

    # Delivery
    delivery: DeliveryMode = Field(
        "auto",
        description=(
            "base64: inline; s3: URLs; auto: inline while the answer fits, else S3 when a store is configured."
        ),
    )
    answer_form: AnswerForm = Field(
        "native",
        description=(
            "Shape of answers to jobs with no other fields than the WebUI's own; a1111: the WebUI's {images, "
            "parameters, info}, info as a JSON text, for clients of runpod-workers/worker-a1111."
        ),
    )
    unknown_fields: UnknownFieldRule = Field(
        "auto",
        description=(
            "What happens to a field that has a value and means nothing here. refuse: the job is an error; warn: it is "
            "ignored with a warning; auto: refuse, but warn in requests to the WebUI's own API (form `api`, /sdapi), "
            "which ignores it too."
        ),
    )
    bucket_endpoint_url: Url | None = Field(
        None, description="S3 endpoint; the bucket may be part of the host or path as RunPod users write it."
    )
    bucket_access_key_id: HeaderSecret | None = Field(None, description="S3 access key.")
    bucket_secret_access_key: HeaderSecret | None = Field(None, description="S3 secret key.")
    bucket_name: str | None = Field(None, description="S3 bucket, when the endpoint does not name it.")
    bucket_region: str | None = Field(None, description="S3 region; default: from the endpoint, else us-east-1.")
    bucket_prefix: str = Field("", description="Put before every key: `<prefix>/<job id>/<n>-<seed>.<ext>`.")
    bucket_key: str = Field(
        "{job}/{n}-{seed}",
        description=(
            "Names of pictures below the prefix, without their ending, of {job} {n} {seed} {stage} {date} {time} "
            "{checkpoint}; {job} and {n} keep them apart. Date and time: of the job's beginning, UTC."
        ),
    )
    bucket_url_expiry_s: WholeSeconds = Field(86400, ge=60, le=604800, description="Life of presigned URLs.")
    bucket_link_check: LinkCheck = Field(
        "once",
        description=(
            "Whether links are opened before they are handed out: the first and then one an hour, each (always), "
            "or none (off): where links open for clients only."
        ),
    )
    bucket_public_url: Url | None = Field(
        None, description="Base URL under which the bucket is public; set: plain URLs instead of presigned."
    )

    # Network
    allow_hosts: Annotated[str, AfterValidator(_host_names)] = Field(
        "",
        description=(
            "Hosts that jobs may name although they are not public, separated by commas: name, name:port, address"
            " or network (10.1.0.0/16)."
        ),
    )

    # Limits
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

    # Presets, wildcards, image check and previews
    presets_file: Path | None = Field(
        None, description="Presets (YAML) over those that ship; default: presets.yaml in MODELS_DIR."
    )
    wildcards_dir: Path | None = Field(
        None, description="Lists for `__name__` in prompts, name.txt; default: wildcards in MODELS_DIR."
    )
    prompt_policy_file: Path | None = Field(
        None, description="Rules on prompts (YAML): refuse or flag words and patterns; default: none."
    )
    image_check: str = Field(
        "",
        description=(
            "Looks at every picture before it is delivered: `onnx`, or `package.module:factory` of your own; "
            "default: none. A check that can't be loaded keeps the worker from starting."
        ),
    )
    image_check_action: ImageCheckAction = Field(
        "refuse",
        description=(
            "What happens to a picture that it objects to. flag: delivered, and the answer says so; blur: made "
            "unrecognisable; refuse: not delivered."
        ),
    )
    image_check_model: Path | None = Field(
        None,
        description=(
            "The classifier (ONNX) of IMAGE_CHECK=onnx, its config.json and preprocessor_config.json beside it; "
            "never downloaded."
        ),
    )
    image_check_labels: str = Field("nsfw", description="Labels that it objects to, separated by commas.")
    image_check_threshold: float = Field(0.5, gt=0, le=1, description="Score from which on a label counts, 0 to 1.")
    face_detector: Path | None = Field(
        None, description="YuNet (ONNX), finds the faces that jobs have judged; never downloaded; default: none."
    )
    face_embedder: Path | None = Field(
        None, description="SFace (ONNX), compares them; never downloaded; default: none."
    )
    faces_dir: Path | None = Field(
        None, description="References of persons, `NAME.json` of `worker faces enrol`; default: faces in MODELS_DIR."
    )
    aesthetic_model: Path | None = Field(
        None,
        description=(
            "Scores pictures for jobs with the judge `aesthetic`: an ONNX file that gives one number, a JSON of the "
            "same name beside it; never downloaded; default: none."
        ),
    )
    judges: str = Field(
        "", description="Judges of your own for jobs, `package.module:factory`, separated by commas; default: none."
    )
    live_previews: Previews = Field(
        "off",
        description=(
            "Whether jobs may have the unfinished picture in their progress (`live_previews`). cheap: an eighth "
            "of the size in rough colours, next to nothing; full: decoded by the VAE each time, which costs GPU "
            "time."
        ),
    )
    live_preview_every_s: Seconds = Field(2, ge=0.5, le=60, description="Least time between two previews of a job.")

    # Metrics, traces and probes
    metrics_port: int = Field(
        0, ge=0, le=65535, description="Serve figures for Prometheus at /metrics on this port; 0: not at all."
    )
    metrics_push_url: Url | None = Field(
        None, description="Pushgateway that gets the figures: serverless workers go before they are scraped."
    )
    metrics_push_every_s: Seconds = Field(15, ge=1, le=3600, description="How often figures are pushed.")
    otel_exporter_otlp_endpoint: Url | None = Field(
        None,
        description=(
            "OpenTelemetry collector (OTLP over HTTP, such as http://collector:4318) that gets a trace of each job; "
            "needs the extra `otel`. Other OTEL_ variables count as everywhere."
        ),
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        None, description="Headers for the collector, `name=value`, separated by commas."
    )
    port_health: int = Field(
        0,
        ge=0,
        le=65535,
        description=(
            "Answer /ping on this port: 200 when jobs can be taken, 204 while starting; 0: not at all. RunPod "
            "sets it for load-balancing endpoints."
        ),
    )
    health_check_path: Annotated[str, AfterValidator(_url_path)] = Field(
        "/ping", description="One more path that is answered as /ping is; RunPod sets it."
    )

    # Plain HTTP (`worker serve`)
    http_port: int = Field(
        8000,
        validation_alias=AliasChoices("HTTP_PORT", "PORT"),
        ge=1,
        le=65535,
        description="Port of `worker serve`; on a load-balancing endpoint of RunPod 80 where nothing is set.",
    )
    http_host: str = Field(
        "127.0.0.1",
        description=(
            "Address that it listens on; 0.0.0.0 for every interface, which wants HTTP_API_KEY. On a load-balancing "
            "endpoint 0.0.0.0 where nothing is set."
        ),
    )
    http_api_key: HeaderSecret | None = Field(
        None,
        description=(
            "Key that its clients send as `Authorization: Bearer …`, as the password of Basic, or as `X-API-Key`; "
            "default: none is asked for. None is needed behind RunPod's load balancing, which asks for RunPod's key."
        ),
    )
    http_key_in_url: bool = Field(
        default=False,
        description=(
            "Clients may also send that key as `?api_key=…` or `?key=…`, or as the first part of the path "
            "(`https://host/<key>`), which ends up in logs of proxies."
        ),
    )
    http_cors_origins: str = Field(
        "",
        description=(
            "Origins of the web pages that may use the HTTP API, separated by commas; `*`: all. Default: all where "
            "HTTP_API_KEY is set, else pages of this machine (localhost)."
        ),
    )
    gallery: str | None = Field(
        None,
        description="Folder or `s3://bucket/prefix` whose pictures `/gallery` of `serve` shows; default: no gallery.",
    )
    http_line: Annotated[int, Unit("jobs")] = Field(
        100, ge=1, le=100000, description="Jobs that may wait there; more get 429."
    )
    http_keep_s: Seconds = Field(1800, ge=1, le=86400, description="How long it keeps an answer.")
    webhook_secret: SecretStr | None = Field(
        None, description="Signs what it posts to a job's `webhook`, by Standard Webhooks (`whsec_…`)."
    )

    # Logs and local runs
    log_level: LogLevel = Field("info", description="Least level that is logged.")
    log_format: LogFormat = Field(
        "auto", description="json: a line per event; pretty: for a terminal; auto: pretty on a terminal, else json."
    )
    log_prompts: bool = Field(default=True, description="Prompts may appear in logs.")
    out_dir: Path = Field(Path("out"), description="Where local runs leave their pictures and answer.json.")

    # Set by the platform
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

    @model_validator(mode="after")
    def _s3_has_an_endpoint(self) -> Self:
        if self.delivery == "s3" and self.bucket_endpoint_url is None:
            raise ValueError("DELIVERY=s3 needs BUCKET_ENDPOINT_URL")
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, hide_url_credentials(value) if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the constructor alone; the process's environment is never read implicitly."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @property
    def in_production(self) -> bool:
        """True in RunPod's job environment."""
        return bool(self.runpod_get_job)

    @property
    def results_root(self) -> Path | None:
        """Folder in which answers are kept; None: they are not kept."""
        if self.results_dir is not None:
            return self.results_dir
        return VOLUME / "worker-results" if self.in_production and VOLUME.is_dir() else None

    @property
    def result_cache_root(self) -> Path:
        """The folder of the result cache on the volume."""
        return self.result_cache_dir if self.result_cache_dir is not None else self.models_root.parent / "result-cache"

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """The entries of ALLOW_HOSTS."""
        return tuple(entry.strip() for entry in self.allow_hosts.split(",") if entry.strip())

    @property
    def faces_root(self) -> Path:
        """The folder of the references of persons."""
        return self.faces_dir or self.models_root / "faces"

    @property
    def cors_origins(self) -> tuple[str, ...] | None:
        """The entries of HTTP_CORS_ORIGINS; None where it is not set."""
        return tuple(entry.strip() for entry in self.http_cors_origins.split(",") if entry.strip()) or None

    @property
    def readable_buckets(self) -> tuple[str, ...]:
        """The entries of MODEL_BUCKETS."""
        return tuple(entry.strip() for entry in self.model_buckets.split(",") if entry.strip())

    @property
    def models_root(self) -> Path:
        """The root of the model folders."""
        if self.models_dir is not None:
            return self.models_dir
        if VOLUME.is_dir():
            return VOLUME / "models"
        return self.webui_dir / "models" if self.webui_dir is not None and self.has_checkout_models else Path("models")

    @property
    def has_checkout_models(self) -> bool:
        """True if the models are where A1111 itself keeps them: in a checkout of the user's, not in the image's."""
        is_elsewhere = self.models_dir is not None or VOLUME.is_dir()
        return not is_elsewhere and self.webui_dir is not None and self.webui_dir != IMAGE_WEBUI_DIR

    @property
    def on_cpu(self) -> bool:
        """True if the WebUI is told to do without a GPU."""
        return self.device == "cpu" or "--use-cpu" in shlex.split(self.webui_args)

    @property
    def batch_pixels(self) -> int:
        """The most pixels of one GPU batch; the worker has settled `auto` when it starts the WebUI."""
        if self.max_pixels == AUTO_PIXELS:
            raise AssertionError("MAX_PIXELS=auto is settled when the WebUI is started")
        return self.max_pixels

    @property
    def gpu_promised(self) -> bool:
        """True if the container runtime promises a GPU."""
        return (self.nvidia_visible_devices or "void").lower() not in {"void", "none"}

    def logs_as_json(self, stream: TextIO) -> bool:
        """Return whether logs written to `stream` are JSON."""
        return self.log_format == "json" or (self.log_format == "auto" and not stream.isatty())

    def secrets(self) -> list[str]:
        """Return every secret value, and the credentials within every URL."""
        found: list[str] = []
        for variable in variables():
            value = getattr(self, variable.attribute)
            if isinstance(value, SecretStr):
                found.append(value.get_secret_value())
            elif variable.kind == "url" and value is not None:
                found += url_credentials(value)
        return found

    def folder(self, kind: ModelKind) -> Path:
        """Return the folder of models of `kind`.

        It is the one of our name, or in a checkout of A1111 the one of A1111's. Where nothing is in there, it is the
        one of the other names that has something, if exactly one does.
        """
        own: Path | None = getattr(self, f"{kind}_dir")
        if own is not None:
            return own
        ours = self.models_root / _FOLDERS[kind]
        theirs = [self.models_root / name for name in A1111_FOLDERS.get(kind, ())]
        if self.has_checkout_models and kind == "embedding":
            theirs = [self.models_root.parent / _FOLDERS[kind]]
        first, *others = [*theirs, ours] if self.has_checkout_models else [ours, *theirs]
        used = [] if _has_files(first) else [folder for folder in others if _has_files(folder)]
        return used[0] if len(used) == 1 else first


def _has_files(folder: Path) -> bool:
    try:
        return any(not entry.name.startswith(".") for entry in folder.iterdir())
    except OSError:
        return False


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings in `environment`.

    Raises:
        SettingsInvalid: names every bad variable, its value (unless secret) and what is allowed.
    """
    replaced = [f"{old} is not a setting any more: {new}" for old, new in REPLACED.items() if environment.get(old)]
    if replaced:
        raise SettingsInvalid("; ".join(replaced), hint="docs/settings.md lists every variable, its type and default.")
    try:
        return Settings.model_validate(EnvironmentSource(Settings, environment)())
    except ValidationError as error:
        raise SettingsInvalid(
            "; ".join(complaints(error, Settings, environment)),
            hint="docs/settings.md lists every variable, its type and default.",
        ) from None


def variables() -> Iterator[Variable]:
    """Yield every variable in the order of the class."""
    return variables_of(Settings)


def misspelt(environment: Iterable[str]) -> list[str]:
    """Return a warning for each variable whose name is nearly, but not quite, one of the worker's."""
    known = [name for variable in variables() for name in variable.names]
    warnings = []
    for name in environment:
        if name in known or name.startswith(_HELD_BACK):
            continue
        meant = nearest(name, known, similarity=_LEAST_TYPO_SIMILARITY, prefix=False)
        if meant is not None:
            warnings.append(f"{name} is not a setting and has no effect; did you mean {meant}?")
    return warnings


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """Return the values in `environment` that must appear in no log, also those that are no settings.

    They are the values of variables with names like ``…_TOKEN``, and the credentials within URLs (proxies).
    """
    found: list[str] = []
    for name, value in environment.items():
        if is_secret_name(name):
            found.append(value)
        elif "://" in value:
            found += url_credentials(value)
    return found


def without_secrets(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of `environment` that programs other than the worker may see.

    Left out are the variables of secret settings, everything that RunPod or AWS set, and every variable whose value is
    or contains a secret of the settings or of those.
    """
    names = {name for variable in variables() if variable.secret for name in variable.names}
    held_back = {name: value for name, value in environment.items() if name in names or name.startswith(_HELD_BACK)}
    secrets = {*settings.secrets(), *(value for name, value in held_back.items() if is_secret_name(name))}
    contained = [secret for secret in secrets if len(secret) >= _LEAST_CONTAINED_SECRET]
    return {
        name: value
        for name, value in environment.items()
        if name not in held_back and value not in secrets and not any(secret in value for secret in contained)
    }
