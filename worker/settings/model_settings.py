"""Settings of model files: their folders, sources and downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import AliasChoices, Field

from worker.settings.env_fields import Bytes, HeaderSecret, Seconds, Url
from worker.settings.settings_group import SettingsGroup

ModelKind = Literal["checkpoint", "lora", "embedding", "vae", "controlnet", "upscaler", "detector", "annotator"]
MODEL_KINDS: tuple[ModelKind, ...] = get_args(ModelKind)
LISTED_AT_START: frozenset[ModelKind] = frozenset({"controlnet", "upscaler", "detector", "annotator"})
"""Kinds whose files the WebUI looks for once, when it starts: no job tells which of them it uses."""
FOLDERS: dict[str, str] = {
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


class ModelSettings(SettingsGroup):
    """Models."""

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
            "A worker that fetches a model, or makes pictures that others with RESULT_CACHE wait for, and shows no "
            "sign of life for this long counts as dead; another takes over."
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

    @property
    def readable_buckets(self) -> tuple[str, ...]:
        """The entries of MODEL_BUCKETS."""
        return tuple(entry.strip() for entry in self.model_buckets.split(",") if entry.strip())
