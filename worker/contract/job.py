"""The jobs that a client can send, as types. Field names are those of the WebUI's own API wherever it has one.

Every field is optional in the type (None: not sent) because a default that is restated changes pictures; only
`model_fields_set` is ever forwarded.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from worker.contract.fields import Choice, Flag, Number, Text, Whole
from worker.contract.models import LoraRef, ModelRef

LONGEST_PROMPT = 20_000
LARGEST_SEED = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly; the WebUI itself takes more."""

Prompt = Annotated[str, Text(LONGEST_PROMPT, empty=True)]
Name = Annotated[str, Text(200)]
Ratio = Annotated[float, Number(0, 1)]
Switch = Annotated[bool, Flag()]
Side = Annotated[int, Whole(64, 2048, 8)]


def _field(about: str, *, group: str = "picture", plain: bool = True, **more: Any) -> Any:
    """Return an optional field; `plain`: it travels to the WebUI as it is, under its own name."""
    return Field(None, description=about, json_schema_extra={"group": group, "plain": plain}, **more)


class Part(BaseModel):
    """A piece of a job: immutable, and closed against unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=False)


class Output(Part):
    """How the pictures come back."""

    format: Annotated[Literal["png", "jpeg", "webp"], Choice({"jpg": "jpeg"})] | None = _field(
        "Picture format; default png.", group="output"
    )
    quality: Annotated[int, Whole(1, 100)] | None = _field("Of jpeg and webp; default 95.", group="output")
    lossless: Switch | None = _field("webp without loss.", group="output")
    delivery: (
        Annotated[Literal["auto", "base64", "s3"], Choice({"inline": "base64", "url": "s3", "urls": "s3"})] | None
    ) = _field("Inline or as URLs; default: the endpoint's setting.", group="output")
    strip_metadata: Switch | None = _field("Leave the generation parameters out of the picture file.", group="output")
    allow_smaller: Switch | None = _field(
        "A picture too large for the answer may be delivered as a smaller format instead of failing.", group="output"
    )


class Job(Part):
    """What every kind of job has."""

    kind: ClassVar[str] = ""

    output: Output = Field(default_factory=Output, description="How the pictures come back.")
    on_mismatch: Annotated[Literal["error", "warn"], Choice({"warning": "warn"})] | None = _field(
        "When the WebUI did something else than asked (model, sampler, size, …): fail (default) or warn.",
        group="job",
        plain=False,
    )
    timeout_s: Annotated[float, Number(1, 86_400)] | None = _field(
        "Deadline of this job, seconds; the endpoint's own deadline holds too.", group="job", plain=False
    )

    _warnings: list[str] = PrivateAttr(default_factory=list)
    _written: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the client should know although the job is accepted, for the answer's `warnings`."""
        return tuple(self._warnings)

    def path(self, field: str) -> str:
        """Return where the client wrote `field`: ``clip_skip`` may have come as an override setting."""
        return self._written.get(field, field)

    def remember(self, *, warnings: list[str], written: dict[str, str]) -> None:
        """Keep what was noticed while reading: warnings, and where fields stood that were written elsewhere."""
        self._warnings.extend(warnings)
        self._written.update(written)

    def plain_fields(self) -> dict[str, Any]:
        """Return the fields that the client set and that go to the WebUI as they are, under their own names."""
        fields = type(self).model_fields
        return {
            name: getattr(self, name)
            for name in fields
            if name in self.model_fields_set
            and isinstance(extra := fields[name].json_schema_extra, dict)
            and extra.get("plain")
        }


class Generation(Job):
    """What jobs that diffuse a picture have in common."""

    prompt: Prompt = Field("", description="What to draw.", json_schema_extra={"group": "picture", "plain": True})
    negative_prompt: Prompt | None = _field("What to keep out.")
    steps: Annotated[int, Whole(1, 150)] | None = _field("Sampling steps.")
    cfg_scale: Annotated[float, Number(1, 30)] | None = _field("How closely the prompt is followed.")
    width: Side | None = _field("Pixels, a multiple of 8.")
    height: Side | None = _field("Pixels, a multiple of 8.")
    sampler_name: Name | None = _field("Sampler by name, alias or common spelling (`DPM++ 2M Karras`, `euler a`).")
    scheduler: Name | None = _field("Noise schedule by name or label; wins over one inside `sampler_name`.")
    seed: Annotated[int, Whole(-1, LARGEST_SEED)] | None = _field(
        "Of the first picture, the next ones count up; -1: random."
    )
    batch_size: Annotated[int, Whole(1, 1000)] | None = _field("Pictures made at once.")
    n_iter: Annotated[int, Whole(1, 1000)] | None = _field("Batches, one after the other.")

    checkpoint: ModelRef | None = _field(
        "Model: a name, file, URL or reference, or `{name, url, hash}`; default: the endpoint's.",
        group="models",
        plain=False,
    )
    vae: ModelRef | None = _field("VAE, like `checkpoint`.", group="models", plain=False)
    loras: list[LoraRef] | None = _field(
        "LoRAs, stacked in order: names or `{name, url, scale, hash}`.", group="models", plain=False, max_length=50
    )
    embeddings: list[ModelRef] | None = _field(
        "Embeddings that must be there for the prompt to use, like `checkpoint`.",
        group="models",
        plain=False,
        max_length=50,
    )
    clip_skip: Annotated[int, Whole(1, 12)] | None = _field(
        "Layers of CLIP to stop before the end.", group="models", plain=False
    )

    subseed: Annotated[int, Whole(-1, LARGEST_SEED)] | None = _field("Variation seed; -1: random.", group="variation")
    subseed_strength: Ratio | None = _field("0: only `seed`, 1: only `subseed`.", group="variation")
    seed_resize_from_w: Annotated[int, Whole(-1, 2048)] | None = _field(
        "Width whose noise is reused; -1 or 0: off.", group="variation"
    )
    seed_resize_from_h: Annotated[int, Whole(-1, 2048)] | None = _field(
        "Height whose noise is reused; -1 or 0: off.", group="variation"
    )

    styles: list[Name] | None = _field("Prompt styles of the WebUI, by name.", group="details", max_length=50)
    restore_faces: Switch | None = _field("Run the face restorer.", group="details")
    tiling: Switch | None = _field("A picture that tiles.", group="details")
    denoising_strength: Ratio | None = _field("How much the second pass (hires) may change.", group="details")
    eta: Annotated[float, Number(0, 1)] | None = _field("Noise of ancestral samplers and DDIM.", group="details")
    s_min_uncond: Annotated[float, Number(0, 15)] | None = _field("Skip the negative prompt below.", group="details")
    s_churn: Annotated[float, Number(0, 100)] | None = _field("Sampler's churn.", group="details")
    s_tmin: Annotated[float, Number(0, 10)] | None = _field("Sampler's tmin.", group="details")
    s_tmax: Annotated[float, Number(0, 999)] | None = _field("Sampler's tmax.", group="details")
    s_noise: Annotated[float, Number(0, 1.1)] | None = _field("Sampler's noise.", group="details")
    disable_extra_networks: Switch | None = _field("Ignore LoRA tags in the prompt.", group="details")

    refiner_checkpoint: ModelRef | None = _field("Second model, like `checkpoint`.", group="refiner", plain=False)
    refiner_switch_at: Ratio | None = _field("Share of the steps after which it takes over.", group="refiner")

    override_settings: dict[str, Any] | None = _field(
        "Options of the WebUI for this job alone, by allow-list.", group="details"
    )


class Txt2Img(Generation):
    """A picture from a prompt."""

    kind: ClassVar[str] = "txt2img"

    type: Annotated[Literal["txt2img"], Choice()] | None = _field("The kind of job.", group="job", plain=False)

    enable_hr: Switch | None = _field("Second pass at a higher size.", group="hires")
    hr_scale: Annotated[float, Number(1, 8)] | None = _field("By how much; default 2.", group="hires")
    hr_resize_x: Annotated[int, Whole(0, 8192, 8)] | None = _field("Or to this width, 0: by scale.", group="hires")
    hr_resize_y: Annotated[int, Whole(0, 8192, 8)] | None = _field("Or to this height, 0: by scale.", group="hires")
    hr_upscaler: Name | None = _field("Upscaler by name.", group="hires")
    hr_second_pass_steps: Annotated[int, Whole(0, 150)] | None = _field("0: as many as `steps`.", group="hires")
    hr_checkpoint_name: ModelRef | None = _field("Other model, like `checkpoint`.", group="hires", plain=False)
    hr_sampler_name: Name | None = _field("Other sampler.", group="hires")
    hr_scheduler: Name | None = _field("Other noise schedule.", group="hires")
    hr_prompt: Prompt | None = _field("Other prompt; empty: the same.", group="hires")
    hr_negative_prompt: Prompt | None = _field("Other negative prompt; empty: the same.", group="hires")


KINDS: dict[str, type[Job]] = {"txt2img": Txt2Img}
"""Kind of job → its type."""
