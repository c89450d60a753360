"""Fields and options that other programs send along with the WebUI's own: whose they are, and when they matter.

Forks of the WebUI (Forge, reForge, SD.Next) have fields that would change the picture there. Clients send fields for
their own proxies and screens. Neither means anything to A1111, which ignores what it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class OtherField:
    """A field of another program.

    Attributes:
        owner: The program.
        passes: Values that change nothing there; None: none does, whatever its value.
        instead: Our field for the same thing, or what to do.
    """

    owner: str
    passes: tuple[Any, ...] | None = ()
    instead: str | None = None

    def changes_nothing(self, value: object) -> bool:
        """Return whether the program that has this field would draw the same picture without `value`."""
        return self.passes is None or any(type(value) is not bool and value == each for each in self.passes)


def _bookkeeping(owner: str) -> OtherField:
    return OtherField(owner, passes=None)


_GUIDANCE = OtherField("Forge", (3.5,))
_MODULES = OtherField("Forge", (["Use same choices"], "Use same choices", ["Built in"]), "vae")

OTHER_FIELDS: dict[str, OtherField] = {
    "distilled_cfg_scale": _GUIDANCE,
    "hr_distilled_cfg": _GUIDANCE,
    "hr_cfg": OtherField("Forge", (), "cfg_scale"),
    "hr_additional_modules": _MODULES,
    "forge_additional_modules": _MODULES,
    "forge_preset": OtherField("Forge", ("sd", "xl", "all")),
    "forge_inference_memory": OtherField("Forge"),
    "forge_async_loading": OtherField("Forge", ("Queue",)),
    "forge_pin_shared_memory": OtherField("Forge", ("CPU",)),
    "forge_unet_storage_dtype": OtherField("Forge", ("Automatic",)),
    "diffusers_guidance_rescale": OtherField("SD.Next", (0.7,)),
    "sd_backend": OtherField("SD.Next", ("original", "diffusers")),
    "url": _bookkeeping("SillyTavern"),
    "auth": _bookkeeping("SillyTavern"),
    "id_task": _bookkeeping("the WebUI's screen"),
    "uniqueDocumentId": _bookkeeping("Auto-Photoshop"),
    "mode": _bookkeeping("Auto-Photoshop"),
    "prompt_shortcut_ui_dict": _bookkeeping("Auto-Photoshop"),
    "original_prompt": _bookkeeping("Auto-Photoshop"),
    "original_negative_prompt": _bookkeeping("Auto-Photoshop"),
    "image_similarity": _bookkeeping("AI Render"),
    "model_override": _bookkeeping("Agnai"),
    "cfgScale": OtherField("StableStudio", (7, 7.0), "cfg_scale"),
    "outpainting_fill": _bookkeeping("openOutpaint"),
    "hr_square_aspect": _bookkeeping("openOutpaint"),
    "resize-mode": _bookkeeping("openOutpaint"),
}
"""Name as that program spells it → whose it is."""

_PREFIXES = {"forge_": "Forge", "uniqueDocument": "Auto-Photoshop"}


def other_field(name: str) -> OtherField | None:
    """Return whose field `name` is, None where no known program sends it."""
    found = OTHER_FIELDS.get(name)
    if found is not None:
        return found
    owner = next((owner for prefix, owner in _PREFIXES.items() if name.startswith(prefix)), None)
    return OtherField(owner) if owner is not None else None
