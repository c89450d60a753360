"""LoRA files and the `<lora:…>` tags that use them."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from standin.errors import WebUIError
from standin.models.checkpoints import model_files
from standin.models.safetensors import LENGTH_BYTES, Header, read_header

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from standin.generation.prompts import Tag
    from standin.models.checkpoints import Weights

ENDINGS = (".pt", ".ckpt", ".safetensors")
SDXL_KEYS = ("lora_te2_", "lora_te1_")
DOWN = (".lora_down.weight", ".lora_A.weight")
MATRIX = 2
HASH_DIGITS = 12
LAYER_MARKS = (
    ("lora_unet_", "diffusion_model_"),
    ("lora_te1_", "0_transformer_"),
    ("lora_te1_", "transformer_"),
    ("lora_te2_", "1_model_"),
    ("lora_te_", "transformer_"),
)


_UNNAMED = str.maketrans("", "", ":,")
"""Signs that an infotext leaves out of a LoRA's name."""


@dataclass(frozen=True, slots=True)
class Network:
    """One LoRA file."""

    path: Path
    metadata: dict[str, Any]

    @property
    def name(self) -> str:
        """The file name without its ending: what a tag uses."""
        return self.path.stem

    @property
    def alias(self) -> str:
        """The name that the training wrote into the file; tags may use it too."""
        return str(self.metadata.get("ss_output_name") or self.name)

    @property
    def short_hash(self) -> str:
        """The beginning of the hash that its trainer wrote into the file; "" where there is none."""
        return str(self.metadata.get("sshs_model_hash") or "")[:HASH_DIGITS]

    def listed(self) -> dict[str, Any]:
        """The entry of `GET /sdapi/v1/loras`."""
        return {"name": self.name, "alias": self.alias, "path": str(self.path), "metadata": self.metadata}


@dataclass(frozen=True, slots=True)
class Applied:
    """A LoRA that changes the picture."""

    name: str
    text_encoder: float
    unet: float
    version: int = 0
    """Counts the files that have had this name, as they were read."""

    def __str__(self) -> str:
        return (
            f"{self.name}:{self.unet:g}"
            if self.unet == self.text_encoder
            else f"{self.name}:{self.text_encoder:g}/{self.unet:g}"
        )


class Networks:
    """The list behind `GET /sdapi/v1/loras`; a name that is missing is looked for again by itself."""

    def __init__(self, flags: argparse.Namespace) -> None:
        self._folders = [Path(flags.lora_dir), Path(flags.lyco_dir_backcompat)]
        self._by_name: dict[str, Network] = {}
        self._by_alias: dict[str, Network] = {}
        self._starved: list[Tag] | None = None
        self._in_layers: tuple[Sequence[Any], Weights | None, tuple[Applied, ...]] = ((), None, ())
        """The LoRAs in the layers: they stay as long as the same are asked for, whatever their files are now."""
        self._versions: dict[Path, list[str]] = {}
        self._says_all = str(flags.loglevel).upper() == "DEBUG"
        self._computes_hashes = not flags.no_hashing

    @property
    def in_layers(self) -> tuple[Applied, ...]:
        """The LoRAs that the last request with extra networks has put into the model's layers."""
        return self._in_layers[2]

    def starve(self, tags: Sequence[Tag]) -> None:
        """Memory fails these LoRAs' layers: said once, at level DEBUG; no effect until others are asked for."""
        self._starved = list(tags)
        if self._says_all:
            print(
                f"2024-01-01 00:00:00 DEBUG [root] Network {tags[0].arguments[0]} layer diffusion_model_out_2: "
                "CUDA out of memory. Tried to allocate 20.00 MiB.",
                flush=True,
            )

    def refresh(self) -> None:
        """Looks at the folders again."""
        names: dict[str, Network] = {}
        aliases: dict[str, Network] = {}
        for folder in self._folders:
            for path in model_files(folder, ENDINGS):
                network = Network(path, _metadata(path))
                names[network.name] = network
                aliases[network.name] = network
                aliases[network.alias] = network
        self._by_name, self._by_alias = names, aliases

    def listed(self) -> list[dict[str, Any]]:
        """Every LoRA as JSON."""
        self.refresh()
        return [network.listed() for network in self._by_name.values()]

    def hashes(self, tags: Sequence[Tag]) -> dict[str, str]:
        """Names and hashes of the LoRAs that these tags load, whether their layers fit or not; without a hash, none."""
        named = [tag.arguments[0] for tag in tags if tag.kind in ("lora", "lyco") and tag.arguments]
        found = {name: self._hash(self._by_alias[name]) for name in named if name in self._by_alias}
        return {name.translate(_UNNAMED): digits for name, digits in found.items() if digits}

    def _hash(self, network: Network) -> str:
        return network.short_hash or (_computed_hash(network.path) if self._computes_hashes else "")

    def apply(self, tags: Sequence[Tag], weights: Weights) -> tuple[Applied, ...]:
        """The LoRAs of these tags that change a picture of this model.

        An unknown name, a bad weight (which drops all of them), a file that cannot be read and one whose tensors do
        not fit
        have no effect and leave no trace in the answer.
        """
        if self._starved == list(tags):
            return ()
        self._starved = None
        try:
            wanted = [(tag.arguments[0], *_multipliers(tag)) for tag in tags if tag.kind in ("lora", "lyco")]
        except ValueError as error:
            arguments = ", ".join(
                f"<modules.extra_networks.ExtraNetworkParams object at 0x{id(tag):x}>" for tag in tags
            )
            _display(f"activating extra network lora with arguments [{arguments}]", "ValueError", str(error))
            return ()
        if any(name not in self._by_alias for name, _, _ in wanted):
            self.refresh()
        if wanted == self._in_layers[0] and weights is self._in_layers[1]:
            return self._in_layers[2]
        applied = []
        for name, text_encoder, unet in wanted:
            network = self._by_alias.get(name)
            if network is None:
                continue
            try:
                header = read_header(network.path) if network.path.suffix == ".safetensors" else Header({}, {})
            except WebUIError as error:
                _display(f"loading network {network.path}", error.name, error.message)
                continue
            if (text_encoder or unet) and fits(header, weights):
                applied.append(Applied(network.name, text_encoder, unet, self._version(network.path)))
        self._in_layers = (wanted if len(applied) == len(wanted) else (), weights, tuple(applied))
        return tuple(applied)

    def _version(self, path: Path) -> int:
        known = self._versions.setdefault(path, [])
        content = hashlib.sha256(path.read_bytes()).hexdigest()  # a file fetched again is the same, whatever its times
        if content not in known:
            known.append(content)
        return known.index(content)


def _display(task: str, error: str, message: str) -> None:
    """Print an exception as `modules/errors.py` displays one."""
    frame = 'Traceback (most recent call last):\n  File "extensions-builtin/Lora/networks.py", line 1, in <module>'
    print(f"{task}: {error}", frame, f"{error}: {message}", sep="\n", file=sys.stderr, flush=True)


def fits(header: Header, weights: Weights) -> bool:
    """Return whether a LoRA changes this model: a common layer has its width; without common layers, the same base."""
    layers = {_layer_name(key): shape for key, shape in weights.header.shapes.items() if key.endswith(".weight")}
    compared = [
        layers[layer][1] == shape[1]
        for key, shape in header.shapes.items()
        if key.endswith(DOWN) and len(shape) >= MATRIX
        for layer in _network_layers(key)
        if len(layers.get(layer, ())) >= MATRIX
    ]
    return any(compared) if compared else _base_of(header) == weights.architecture


def _base_of(header: Header) -> str:
    named = header.metadata.get("ss_base_model_version") or header.metadata.get("modelspec.architecture", "")
    if named:
        return "sdxl" if "sdxl" in named or "stable-diffusion-xl" in named else "sd1"
    return "sdxl" if any(key.startswith(SDXL_KEYS) for key in header.shapes) else "sd1"


def _layer_name(key: str) -> str:
    path = key.removesuffix(".weight").replace("model.diffusion_model.", "diffusion_model.")
    path = path.replace("cond_stage_model.transformer.", "transformer.").replace("conditioner.embedders.0.", "0.")
    return path.replace("conditioner.embedders.1.", "1.").replace(".", "_")


def _network_layers(key: str) -> list[str]:
    """The names that the layer of a LoRA's key may have in a model: the first text encoder's has two."""
    name = key.split(".", 1)[0]
    return [_compvis(new + name.removeprefix(mark)) for mark, new in LAYER_MARKS if name.startswith(mark)]


def _compvis(name: str) -> str:
    """The layer's name in the model's own words where the training used the diffusers library's."""
    for mark, first in (("down_blocks", 1), ("up_blocks", 0)):
        prefix = f"diffusion_model_{mark}_"
        if not name.startswith(prefix):
            continue
        block, _, rest = name.removeprefix(prefix).partition("_")
        kind, _, rest = rest.partition("_")
        _, _, rest = rest.partition("_") if kind in ("attentions", "resnets") else (None, None, rest)
        index, _, tail = rest.partition("_")
        if block.isdigit() and index.isdigit():
            group = "input_blocks" if mark == "down_blocks" else "output_blocks"
            place = 1 if kind == "attentions" else 0
            return f"diffusion_model_{group}_{int(block) * 3 + int(index) + first}_{place}_{tail}"
    return name.replace("diffusion_model_mid_block_attentions_0_", "diffusion_model_middle_block_1_")


def _multipliers(tag: Tag) -> tuple[float, float]:
    positional = tag.positional
    text_encoder = float(positional[1]) if len(positional) > 1 else 1.0
    text_encoder = float(tag.named.get("te", text_encoder))
    unet = float(positional[2]) if len(positional) > 2 else text_encoder  # noqa: PLR2004 # the third place of a tag
    return text_encoder, float(tag.named.get("unet", unet))


def _computed_hash(path: Path) -> str:
    """Return the beginning of the hash of a file, or of what follows a safetensors header; "" where that is broken."""
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        try:
            read_header(path)
        except WebUIError:
            return ""
        data = data[LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little") :]
    return hashlib.sha256(data).hexdigest()[:HASH_DIGITS]


def _metadata(path: Path) -> dict[str, Any]:
    if path.suffix != ".safetensors":
        return {}
    try:
        texts = read_header(path).metadata
    except WebUIError as error:
        print(f"*** Error reading lora {path}: {error.message}", file=sys.stderr, flush=True)
        return {}
    return {key: _parsed(value) for key, value in sorted(texts.items(), key=lambda item: _metadata_order(item[0]))}


def _metadata_order(key: str) -> int:
    order = ("ss_sd_model_name", "ss_base_model_version", "ss_resolution")
    return order.index(key) if key in order else len(order)


def _parsed(value: str) -> Any:
    if value[:1] != "{":
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
