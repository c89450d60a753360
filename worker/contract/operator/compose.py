"""Composition of prompts and LoRAs from presets and the client's own. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.contract.operator.presets import Preset

_LORA_TAG = re.compile(r"<(?:lora|lyco):([^:>]{1,300})")


def composed_prompt(own: Any, presets: Sequence[Preset]) -> Any:
    """Return the client's prompt between the words of presets; anything but text is returned as it is."""
    if not isinstance(own, str | None):
        return own
    before = (preset.prompt.before for preset in presets)
    after = (preset.prompt.after for preset in presets)
    return _joined([*before, own or "", *after])


def composed_negative(own: Any, presets: Sequence[Preset]) -> Any:
    """Return the client's negative prompt and the words that presets add; anything but text is returned as it is."""
    if not isinstance(own, str | None):
        return own
    return _joined([own or "", *(preset.negative.add for preset in presets)])


def _joined(parts: Iterable[str]) -> str:
    """Return texts joined by commas; a line with a comment is ended, so that it hides nothing behind it."""
    plain = (part.strip().rstrip(",").rstrip() for part in parts)
    ended = [f"{part}\n" if "#" in part.rpartition("\n")[2] else part for part in plain if part]
    return ", ".join(ended).rstrip("\n")


def added_loras(own: Sequence[Any], prompt: Any, presets: Sequence[Preset]) -> list[tuple[Any, Preset]]:
    """Return the LoRAs that presets add, as jobs write them, each with its preset.

    One that the client names too, in its list or in its prompt, is the client's, with the client's scale; of two
    presets the later one has it.
    """
    taken = {name for lora in own if (name := _name(lora)) is not None}
    if isinstance(prompt, str):
        taken |= {_stem(tag) for tag in _LORA_TAG.findall(prompt)}
    added: dict[str, tuple[Any, Preset]] = {}
    for preset in presets:
        for index, lora in enumerate(preset.loras):
            name = _name(lora)
            if name is None or name not in taken:
                added[name or f"{preset.name}:{index}"] = lora, preset
    return list(added.values())


def _name(lora: Any) -> str | None:
    """Return the name of a LoRA as a job writes it, without folder, ending and case; None: it has no name."""
    named = lora.get("name") if isinstance(lora, dict) else lora
    return _stem(named) if isinstance(named, str) else None


def _stem(name: str) -> str:
    path = PurePosixPath(name.strip().casefold())
    return path.stem if path.suffix in {".safetensors", ".pt", ".ckpt"} else path.name
