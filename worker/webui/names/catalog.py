"""Listings of the running WebUI: the only names that it will not silently replace by something else."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from worker.common.suggestions import plain
from worker.contract.base.model_titles import split_title
from worker.webui.names.samplers import Sampler, SamplerTable, Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

LISTINGS: dict[str, str] = {
    "samplers": "/sdapi/v1/samplers",
    "schedulers": "/sdapi/v1/schedulers",
    "checkpoints": "/sdapi/v1/sd-models",
    "vae": "/sdapi/v1/sd-vae",
    "loras": "/sdapi/v1/loras",
    "embeddings": "/sdapi/v1/embeddings",
    "upscalers": "/sdapi/v1/upscalers",
    "latent_upscale_modes": "/sdapi/v1/latent-upscale-modes",
    "styles": "/sdapi/v1/prompt-styles",
    "scripts": "/sdapi/v1/scripts",
    "face_restorers": "/sdapi/v1/face-restorers",
    "hypernetworks": "/sdapi/v1/hypernetworks",
    "script_info": "/sdapi/v1/script-info",
    "controlnet_models": "/controlnet/model_list",
    "controlnet_modules": "/controlnet/module_list",
    "controlnet_module_labels": "/controlnet/module_list?alias_names=true",
    "controlnet_settings": "/controlnet/settings",
    "detectors": "/adetailer/v1/ad_model",
    "flags": "/sdapi/v1/cmd-flags",
}
_TOLD_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Baseline:
    """Option values in force between jobs, which hold where a job says nothing."""

    clip_skip: int = 1
    vae: str = "Automatic"
    names_loras: bool = True
    """Infotexts name the LoRAs that were loaded, as far as they have hashes."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A line of ``GET /sdapi/v1/sd-models``; an answer's ``sd_model_name`` is its `stem`."""

    name: str
    title: str
    filename: str
    short_hash: str | None = None

    @property
    def place(self) -> str:
        """Its path below the WebUI's folders without the ending: what tells it from others of its name."""
        return self.title.removesuffix(f" [{self.short_hash}]").rpartition(".")[0]

    def contradicts(self, digits: str | None) -> bool:
        """Return whether a hash, whole or its beginning, is known not to be that of this file."""
        if digits is None or self.short_hash is None or len(digits) < len(self.short_hash):
            return False
        return not digits.startswith(self.short_hash)

    @property
    def stem(self) -> str:
        """The name of its file, without the ending."""
        name = self.filename.rpartition("/")[2]
        return name.rpartition(".")[0] or name


@dataclass(frozen=True, slots=True)
class Lora:
    """A line of ``GET /sdapi/v1/loras``. `name` (the file's stem, case-sensitive) is the tag."""

    name: str
    alias: str
    path: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def told_hash(self) -> str | None:
        """Its hash as an infotext names it; None where its trainer wrote none: another is only the WebUI's to compute.

        Source: `NetworkOnDisk` in `extensions-builtin/Lora/network.py` of A1111 v1.10.1.
        """
        digits = self.metadata.get("sshs_model_hash")
        return digits[:_TOLD_DIGITS] if isinstance(digits, str) and digits else None


@dataclass(frozen=True, slots=True)
class Vae:
    """A line of ``GET /sdapi/v1/sd-vae``. `name` (with its ending) is the option's value and the answer's name."""

    name: str
    filename: str


@dataclass(frozen=True, slots=True)
class Upscaler:
    """A line of ``GET /sdapi/v1/upscalers``; `path` is an address where the weights have yet to be fetched from."""

    name: str
    path: str | None = None
    scale: float = 4.0


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything the running WebUI lists, as of one moment."""

    samplers: SamplerTable
    checkpoints: tuple[Checkpoint, ...] = ()
    loras: tuple[Lora, ...] = ()
    vaes: tuple[Vae, ...] = ()
    upscalers: tuple[Upscaler, ...] = ()
    latent_upscalers: tuple[str, ...] = ()
    embeddings: frozenset[str] = frozenset()
    skipped_embeddings: frozenset[str] = frozenset()
    styles: tuple[str, ...] = ()
    style_texts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    scripts: frozenset[str] = frozenset()
    img2img_scripts: frozenset[str] = frozenset()
    face_restorers: tuple[str, ...] = ()
    hypernetworks: tuple[str, ...] = ()
    script_info: tuple[Mapping[str, Any], ...] = ()
    control_models: tuple[str, ...] = ()
    control_modules: tuple[str, ...] = ()
    control_labels: Mapping[str, str] = field(default_factory=dict)
    control_units: int = 3
    detectors: tuple[str, ...] = ()
    has_hashes: bool = False
    """The WebUI runs without ``--no-hashing``: what has no hash of its own, it computes one for when it loads it."""

    def checkpoint(self, wanted: str) -> Checkpoint | None:
        """Return the checkpoint of this title, with or without its ending, else the only one of this name or file."""
        exact = next((c for c in self.checkpoints if wanted in {c.title, c.place}), None)
        if exact is not None:
            return exact
        name, digits = split_title(wanted)
        bare = name.removesuffix(".safetensors")
        named = [c for c in self.checkpoints if name in {c.name, c.place} or c.stem in {name, bare}]
        named = named or [c for c in self.checkpoints if c.short_hash is not None and c.short_hash == name.lower()]
        found = named[0] if len(named) == 1 else None
        return None if found is not None and found.contradicts(digits) else found

    def checkpoint_at(self, path: Path | None) -> Checkpoint | None:
        """Return the checkpoint whose file this is; asks the disk."""
        real = os.path.realpath(path) if path is not None else None
        return next((c for c in self.checkpoints if os.path.realpath(c.filename) == real), None)

    def control_module(self, wanted: str) -> str | None:
        """Return ControlNet's own name of a preprocessor, given that or the one on its screen, in any case."""
        known = {label.casefold(): name for label, name in self.control_labels.items()}
        known |= {name.casefold(): name for name in self.control_modules}
        return known.get(wanted.casefold())

    def lora(self, wanted: str) -> Lora | None:
        """Return the LoRA whose tag is `wanted`."""
        return next((lora for lora in self.loras if lora.name == wanted), None)

    def vae(self, wanted: str) -> Vae | None:
        """Return the VAE named `wanted`, with or without its ending."""
        return next((vae for vae in self.vaes if wanted in {vae.name, PurePath(vae.name).stem}), None)

    def texts_of(self, styles: Iterable[str]) -> list[str]:
        """Return the prompts and negative prompts of these styles."""
        return [text for style in styles for text in self.style_texts.get(style, ())]

    def checkpoint_meant(self, wanted: str) -> Checkpoint | None:
        """Return the checkpoint with this name or title, else the only one in another spelling of the name."""
        return self.checkpoint(wanted) or _only(wanted, self.checkpoints, name=lambda row: row.stem)

    def lora_meant(self, wanted: str) -> Lora | None:
        """Return the LoRA with this tag, else the only one in another spelling of it."""
        return self.lora(wanted) or _only(wanted, self.loras)

    def vae_meant(self, wanted: str) -> Vae | None:
        """Return the VAE with this name, else the only one in another spelling of it."""
        return self.vae(wanted) or _only(wanted, self.vaes)


_Row = TypeVar("_Row", Checkpoint, Lora, Vae)
_ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


def _only(wanted: str, rows: Sequence[_Row], *, name: Callable[[_Row], str] = lambda row: row.name) -> _Row | None:
    """Return the one row whose name differs from `wanted` by case, spaces and punctuation alone."""
    found = [row for row in rows if _spelling(name(row)) == _spelling(wanted)]
    return found[0] if len(found) == 1 else None


def _spelling(name: str) -> str:
    ending = next((each for each in _ENDINGS if name.casefold().endswith(each)), "")
    return plain(name[: len(name) - len(ending)])


def parse(listings: Mapping[str, Any]) -> Catalog:
    """Return the catalog of the raw listings, keyed as in `LISTINGS`; a missing listing counts as empty."""

    def rows(name: str) -> Sequence[Mapping[str, Any]]:
        content = listings.get(name)
        return [row for row in content if isinstance(row, dict)] if isinstance(content, list) else []

    embeddings = listings.get("embeddings") or {}
    scripts = listings.get("scripts") or {}
    units = _part(listings, "controlnet_settings").get("control_net_unit_count")
    return Catalog(
        samplers=SamplerTable(
            [Sampler.from_json(row) for row in rows("samplers")],
            [Scheduler.from_json(row) for row in rows("schedulers")],
        ),
        checkpoints=tuple(
            Checkpoint(str(row["model_name"]), str(row["title"]), str(row["filename"]), row.get("hash"))
            for row in rows("checkpoints")
        ),
        loras=tuple(
            Lora(str(row["name"]), str(row.get("alias", "")), str(row.get("path", "")), row.get("metadata") or {})
            for row in rows("loras")
        ),
        vaes=tuple(Vae(str(row["model_name"]), str(row["filename"])) for row in rows("vae")),
        upscalers=tuple(
            Upscaler(str(row["name"]), row.get("model_path"), float(row.get("scale") or 4.0))
            for row in rows("upscalers")
        ),
        latent_upscalers=tuple(str(row["name"]) for row in rows("latent_upscale_modes")),
        embeddings=frozenset(embeddings.get("loaded") or ()),
        skipped_embeddings=frozenset(embeddings.get("skipped") or ()),
        styles=tuple(str(row["name"]) for row in rows("styles")),
        style_texts={
            str(row["name"]): (str(row.get("prompt") or ""), str(row.get("negative_prompt") or ""))
            for row in rows("styles")
        },
        scripts=frozenset(str(name).lower() for name in scripts.get("txt2img") or ()),
        img2img_scripts=frozenset(str(name).lower() for name in scripts.get("img2img") or ()),
        face_restorers=tuple(str(row["name"]) for row in rows("face_restorers")),
        hypernetworks=tuple(str(row["name"]) for row in rows("hypernetworks")),
        script_info=tuple(rows("script_info")),
        control_models=_names(listings, "controlnet_models", "model_list"),
        control_modules=_names(listings, "controlnet_modules", "module_list"),
        control_labels=_labels(listings),
        control_units=units if isinstance(units, int) else 3,
        detectors=_names(listings, "detectors", "ad_model"),
        has_hashes=_part(listings, "flags").get("no_hashing") is False,
    )


def _part(listings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    content = listings.get(name)
    return content if isinstance(content, dict) else {}


def _labels(listings: Mapping[str, Any]) -> Mapping[str, str]:
    """Return ControlNet's name of each preprocessor by what its screen calls it; both listings have one order."""
    names = _names(listings, "controlnet_modules", "module_list")
    labels = _names(listings, "controlnet_module_labels", "module_list")
    return dict(zip(labels, names, strict=True)) if len(names) == len(labels) else {}


def _names(listings: Mapping[str, Any], name: str, key: str) -> tuple[str, ...]:
    """Return the names that an extension lists under `key`; none where it is not installed."""
    names = _part(listings, name).get(key)
    return tuple(str(one) for one in names) if isinstance(names, list) else ()
