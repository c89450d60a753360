"""Fields of every job, and of every job that diffuses a picture.

Field names are those of the WebUI's own API wherever it has one. Every field is optional in the type (None: not sent)
because a default that is restated changes pictures; only `model_fields_set` is ever forwarded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from worker.contract.base.paths import as_written
from worker.contract.types.adetailer import ADetailerUnit  # noqa: TC001 - pydantic reads the annotations
from worker.contract.types.base_model import Name, Prompt, Ratio, StrictModel, Switch, optional
from worker.contract.types.composed.acceptance import Acceptance  # noqa: TC001 - as above
from worker.contract.types.composed.plot import Plot  # noqa: TC001 - as above
from worker.contract.types.composed.pool import Pool  # noqa: TC001 - as above
from worker.contract.types.controlnet import ControlNetUnit  # noqa: TC001 - as above
from worker.contract.types.extensions import TiledDiffusion, TiledVae  # noqa: TC001 - as above
from worker.contract.types.fields import Choice, Number, Whole
from worker.contract.types.model_ref import LoraRef, ModelRef  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self

LARGEST_SEED = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly; the WebUI itself takes more."""
MOST_PROMPTS = 100

Side = Annotated[int, Whole(64, 2048, 8)]
Seed = Annotated[int, Whole(-1, LARGEST_SEED)]


class Output(StrictModel):
    """Format and delivery of the pictures."""

    format: Annotated[Literal["png", "jpeg", "webp", "avif"], Choice({"jpg": "jpeg"})] | None = optional(
        "Picture format; default png.", group="output"
    )
    quality: Annotated[int, Whole(1, 100)] | None = optional(
        "Of jpeg, webp (default 95) and avif (85).", group="output"
    )
    lossless: Switch | None = optional("webp without loss, avif nearly.", group="output")
    delivery: (
        Annotated[
            Literal["auto", "base64", "s3", "none"],
            Choice({"inline": "base64", "images": "base64", "url": "s3", "urls": "s3"}),
        ]
        | None
    ) = optional(
        "Inline, as URLs, or not at all (stored where there is a store, then named in `keys`); default: the "
        "endpoint's setting.",
        group="output",
    )
    strip_metadata: Switch | None = optional("Leave the generation parameters out of the picture file.", group="output")
    allow_smaller: Switch | None = optional(
        "A picture too large for the answer may be delivered as a smaller format instead of failing.", group="output"
    )
    thumbnail: Annotated[int, Whole(16, 512)] | None = optional(
        "Longest side of a small JPEG of each picture, in `previews`.", group="output"
    )
    grid: Switch | None = optional(
        "All pictures on one sheet as well, in `grid`, never among `images`.", group="output"
    )
    blurhash: Switch | None = optional("A blurhash of each picture, in `previews`.", group="output")
    intermediates: list[Name] | None = optional(
        "Of a workflow: stages whose pictures are delivered too, in `stages`.", group="output", max_length=16
    )
    rejected: Annotated[Literal["drop", "store"], Choice()] | None = optional(
        "With `accept` or a judge stage: whether rejected pictures are stored too, keys in `judged`; default drop.",
        group="output",
    )
    metadata: Switch | None = optional(
        "The facts about each picture, and a job that makes it again: in `pictures`, and in a store as a JSON file "
        "beside it.",
        group="output",
    )
    record: Switch | None = optional(
        "Store a JSON file beside the pictures that tells how to make them again; its URL is `record`.", group="output"
    )


@dataclass(frozen=True, slots=True)
class _Remarks:
    warnings: tuple[str, ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)
    base_models: Mapping[str, str] = field(default_factory=dict)
    lenient: bool = False


_NOTHING = _Remarks()


class Job(StrictModel):
    """Fields of every kind of job."""

    kind: ClassVar[str] = ""

    output: Output = Field(
        default_factory=Output, description="How the pictures come back.", json_schema_extra={"group": "job"}
    )
    on_mismatch: Annotated[Literal["error", "warn"], Choice({"warning": "warn"})] | None = optional(
        "When the WebUI did something else than asked (model, sampler, size, …): fail (default) or warn.",
        group="job",
        plain=False,
    )
    timeout_s: Annotated[float, Number(1, 86_400)] | None = optional(
        "Deadline of this job, seconds; the endpoint's own deadline holds too.", group="job", plain=False
    )

    cache: Annotated[Literal["use", "refresh", "off", "only"], Choice()] | None = optional(
        "Whether pictures that this endpoint has made before are taken from its cache: use (default), refresh (made "
        "anew and kept), off, or only (an error where they have to be made). Where RESULT_CACHE is on, and with a "
        "fixed seed.",
        group="job",
        plain=False,
    )
    preset: list[Name] | None = optional(
        "Presets of this endpoint by name, one or several: values for fields that the job leaves out, words and LoRAs.",
        group="job",
        plain=False,
        max_length=8,
    )
    character: Name | None = optional("A character of this endpoint: a preset of that role.", group="job", plain=False)
    scene: Name | None = optional("A scene of this endpoint, likewise.", group="job", plain=False)
    style: Name | None = optional("A style of this endpoint, likewise.", group="job", plain=False)

    # Not a private attribute, which pydantic takes ten times as long to make and to find: every job asks a dozen times.
    __slots__ = ("_remarks",)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the client of an accepted job, for the answer's `warnings`."""
        return self._remarked().warnings

    @property
    def written(self) -> Mapping[str, str]:
        """Field → where the client wrote it, of those that stand elsewhere."""
        return self._remarked().written

    def path(self, field: str) -> str:
        """Return where the client wrote `field`: ``clip_skip`` may have come as an override setting."""
        written = self._remarked().written
        return as_written(field, written) if written else field

    @property
    def base_models(self) -> Mapping[str, str]:
        """The base models that the job's presets are made for, by the field that names the preset."""
        return self._remarked().base_models

    @property
    def lenient(self) -> bool:
        """True if a value without effect is a warning, because the WebUI would draw all the same, and no mistake."""
        return self._remarked().lenient

    def remember(
        self,
        *,
        warnings: Sequence[str],
        written: Mapping[str, str],
        base_models: Mapping[str, str] | None = None,
        lenient: bool = False,
    ) -> None:
        """Keep remarks on the job: warnings, places of fields written elsewhere, base models that presets need."""
        before = self._remarked()
        remarks = _Remarks(
            (*before.warnings, *warnings),
            {**before.written, **written},
            {**before.base_models, **(base_models or {})},
            before.lenient or lenient,
        )
        object.__setattr__(self, "_remarks", remarks)

    def _remarked(self) -> _Remarks:
        try:  # not `getattr` with a default, for which pydantic looks everywhere else first
            remarks: _Remarks = object.__getattribute__(self, "_remarks")
        except AttributeError:
            return _NOTHING
        return remarks

    def changed(self, changes: Mapping[str, Any], written: Mapping[str, str] | None = None) -> Self:
        """Return this job with other values; None takes a field away. `written`: where the new values stand."""
        copy = self.model_copy(update=dict(changes))
        copy.__pydantic_fields_set__.difference_update(name for name, value in changes.items() if value is None)
        kept = {name: place for name, place in self._remarked().written.items() if name not in changes}
        copy.remember(
            warnings=self.warnings,
            written={**kept, **(written or {})},
            base_models=self.base_models,
            lenient=self.lenient,
        )
        return copy

    def plain_fields(self) -> dict[str, Any]:
        """Return the fields that the client set and that go to the WebUI as they are, under their own names."""
        given = self.model_fields_set
        return {name: getattr(self, name) for name in _plain_names(type(self)) if name in given}


@cache
def _plain_names(kind: type[Job]) -> tuple[str, ...]:
    told = {name: field.json_schema_extra for name, field in kind.model_fields.items()}
    return tuple(name for name, extra in told.items() if isinstance(extra, dict) and extra.get("plain"))


class PromptPart(StrictModel):
    """One of several prompts of a job, with what it changes."""

    prompt: Prompt = Field(description="What to draw.")
    negative_prompt: Prompt | None = optional("What to keep out.")
    seed: Seed | None = optional("Of its first picture.")
    steps: Annotated[int, Whole(1, 150)] | None = optional("Sampling steps.")
    cfg_scale: Annotated[float, Number(1, 30)] | None = optional("How closely the prompt is followed.")
    sampler_name: Name | None = optional("Sampler.")
    scheduler: Name | None = optional("Noise schedule.")
    width: Side | None = optional("Pixels, a multiple of 8.")
    height: Side | None = optional("Pixels, a multiple of 8.")
    batch_size: Annotated[int, Whole(1, 1000)] | None = optional("Pictures made at once.")
    n_iter: Annotated[int, Whole(1, 1000)] | None = optional("Batches, one after the other.")
    clip_skip: Annotated[int, Whole(1, 12)] | None = optional("Layers of CLIP to stop before the end.", plain=False)
    loras: list[LoraRef] | None = optional("LoRAs instead of the job's.", plain=False, max_length=50)
    pool: list[Pool] | None = optional("Pools instead of the job's.", plain=False, min_length=1, max_length=10)


class Refiner(StrictModel):
    """A second model that takes over; the same as `refiner_checkpoint` and `refiner_switch_at`."""

    checkpoint: ModelRef | None = optional("Model, like `checkpoint`.", group="refiner")
    switch_at: Ratio | None = optional("Share of the steps after which it takes over.", group="refiner")


class Generation(Job):
    """Fields of the jobs that diffuse a picture."""

    prompt: Prompt = Field("", description="What to draw.", json_schema_extra={"group": "picture", "plain": True})
    negative_prompt: Prompt | None = optional("What to keep out.")
    steps: Annotated[int, Whole(1, 150)] | None = optional("Sampling steps.")
    cfg_scale: Annotated[float, Number(1, 30)] | None = optional("How closely the prompt is followed.")
    width: Side | None = optional("Pixels, a multiple of 8.")
    height: Side | None = optional("Pixels, a multiple of 8.")
    sampler_name: Name | None = optional("Sampler by name, alias or common spelling (`DPM++ 2M Karras`, `euler a`).")
    scheduler: Name | None = optional("Noise schedule by name or label; wins over one inside `sampler_name`.")
    seed: Seed | None = optional("Of the first picture, the next ones count up; -1: random.")
    batch_size: Annotated[int, Whole(1, 1000)] | None = optional("Pictures made at once.")
    n_iter: Annotated[int, Whole(1, 1000)] | None = optional("Batches, one after the other.")

    seeds: list[Seed] | None = optional(
        "A seed for each picture, instead of `seed` and the number of pictures.",
        group="variation",
        plain=False,
        min_length=1,
        max_length=1000,
    )
    prompts: list[PromptPart] | None = optional(
        "Several prompts in one job: texts, or objects with what each changes. One that fails leaves the others.",
        group="variation",
        plain=False,
        min_length=1,
        max_length=MOST_PROMPTS,
    )
    plot: Plot | None = optional(
        "The job once for each combination of values of its fields, and a sheet of the pictures in `grid`.",
        group="variation",
        plain=False,
    )
    wildcards: Switch | None = optional(
        "Expand `{a|b}` and `__name__` in the prompts, by each picture's seed.", group="variation", plain=False
    )
    pool: list[Pool] | None = optional(
        "Lines of which each picture draws some, all different, by its seed, behind its prompt: one pool or several.",
        group="variation",
        plain=False,
        min_length=1,
        max_length=10,
    )

    accept: Acceptance | None = optional(
        "Make picture after picture, seed after seed, and judge them until enough are accepted.",
        group="judging",
        plain=False,
    )

    live_previews: Switch | None = optional(
        "The unfinished picture in the progress now and then (a JPEG of at most 512 pixels), where the endpoint allows "
        "it; costs GPU time.",
        group="job",
        plain=False,
    )

    stream: Switch | None = optional(
        "Each picture is told on `/stream` as soon as it is made, before the answer.", group="job", plain=False
    )

    recommended: Switch | None = optional(
        "Clip skip, size and sampler as the checkpoint's publisher recommends, for what the job leaves out.",
        group="models",
        plain=False,
    )
    checkpoint: ModelRef | None = optional(
        "Model: a name, file, URL or reference, or `{name, url, hash}`; default: the endpoint's.",
        group="models",
        plain=False,
    )
    vae: ModelRef | None = optional("VAE, like `checkpoint`.", group="models", plain=False)
    loras: list[LoraRef] | None = optional(
        "LoRAs, stacked in order: names, `{name, url, scale, hash}`, or `{one_of, scale}`.",
        group="models",
        plain=False,
        max_length=50,
    )
    embeddings: list[ModelRef] | None = optional(
        "Embeddings that must be there for the prompt to use, like `checkpoint`.",
        group="models",
        plain=False,
        max_length=50,
    )
    clip_skip: Annotated[int, Whole(1, 12)] | None = optional(
        "Layers of CLIP to stop before the end.", group="models", plain=False
    )

    subseed: Seed | None = optional("Variation seed; -1: random.", group="variation")
    subseed_strength: Ratio | None = optional("0: only `seed`, 1: only `subseed`.", group="variation")
    seed_resize_from_w: Annotated[int, Whole(-1, 2048)] | None = optional(
        "Width whose noise is reused; -1 or 0: off.", group="variation"
    )
    seed_resize_from_h: Annotated[int, Whole(-1, 2048)] | None = optional(
        "Height whose noise is reused; -1 or 0: off.", group="variation"
    )

    styles: list[Name] | None = optional("Prompt styles of the WebUI, by name.", group="details", max_length=50)
    restore_faces: Switch | None = optional("Run the face restorer.", group="details")
    tiling: Switch | None = optional("A picture that tiles.", group="details")
    denoising_strength: Ratio | None = optional("How much a picture (or the hires pass) may change.", group="details")
    eta: Ratio | None = optional("Noise of ancestral samplers and DDIM.", group="details")
    s_min_uncond: Annotated[float, Number(0, 15)] | None = optional("Skip the negative prompt below.", group="details")
    s_churn: Annotated[float, Number(0, 100)] | None = optional("Sampler's churn.", group="details")
    s_tmin: Annotated[float, Number(0, 10)] | None = optional("Sampler's tmin.", group="details")
    s_tmax: Annotated[float, Number(0, 999)] | None = optional("Sampler's tmax.", group="details")
    s_noise: Annotated[float, Number(0, 1.1)] | None = optional("Sampler's noise.", group="details")
    disable_extra_networks: Switch | None = optional("Ignore LoRA tags in the prompt.", group="details")
    override_settings: dict[str, Any] | None = optional(
        "Options of the WebUI for this job alone, by allow-list.", group="details"
    )

    refiner: Refiner | None = optional("Second model for the last steps.", group="refiner", plain=False)
    refiner_checkpoint: ModelRef | None = optional("The same by the WebUI's names.", group="refiner", plain=False)
    refiner_switch_at: Ratio | None = optional("Share of the steps after which it takes over.", group="refiner")

    controlnet: list[ControlNetUnit] | None = optional(
        "ControlNet units.", group="extensions", plain=False, max_length=10
    )
    adetailer: list[ADetailerUnit] | None = optional(
        "ADetailer passes.", group="extensions", plain=False, max_length=10
    )
    tiled_diffusion: TiledDiffusion | None = optional("Tiled Diffusion.", group="extensions", plain=False)
    tiled_vae: TiledVae | None = optional("Tiled VAE.", group="extensions", plain=False)


class Hires(StrictModel):
    """A second pass at a higher size; the same as `enable_hr` and the `hr_` fields."""

    enabled: Switch | None = optional("Default true.", group="hires")
    scale: Annotated[float, Number(1, 8)] | None = optional("By how much; default 2.", group="hires")
    width: Annotated[int, Whole(0, 8192, 8)] | None = optional("Or to this width.", group="hires")
    height: Annotated[int, Whole(0, 8192, 8)] | None = optional("Or to this height.", group="hires")
    upscaler: Name | None = optional("Upscaler by name.", group="hires")
    steps: Annotated[int, Whole(0, 150)] | None = optional("0: as many as `steps`.", group="hires")
    denoising_strength: Ratio | None = optional("How much the pass may change.", group="hires")
    checkpoint: ModelRef | None = optional("Other model.", group="hires")
    sampler: Name | None = optional("Other sampler.", group="hires")
    scheduler: Name | None = optional("Other noise schedule.", group="hires")
    prompt: Prompt | None = optional("Other prompt.", group="hires")
    negative_prompt: Prompt | None = optional("Other negative prompt.", group="hires")


class Txt2Img(Generation):
    """A picture from a prompt."""

    kind: ClassVar[str] = "txt2img"

    type: Annotated[Literal["txt2img"], Choice()] | None = optional("The kind of job.", group="job", plain=False)

    hires: Hires | None = optional("Second pass at a higher size.", group="hires", plain=False)
    enable_hr: Switch | None = optional("The same by the WebUI's names.", group="hires")
    hr_scale: Annotated[float, Number(1, 8)] | None = optional("By how much; default 2.", group="hires")
    hr_resize_x: Annotated[int, Whole(0, 8192, 8)] | None = optional("Or to this width, 0: by scale.", group="hires")
    hr_resize_y: Annotated[int, Whole(0, 8192, 8)] | None = optional("Or to this height, 0: by scale.", group="hires")
    hr_upscaler: Name | None = optional("Upscaler by name.", group="hires")
    hr_second_pass_steps: Annotated[int, Whole(0, 150)] | None = optional("0: as many as `steps`.", group="hires")
    hr_checkpoint_name: ModelRef | None = optional("Other model, like `checkpoint`.", group="hires", plain=False)
    hr_sampler_name: Name | None = optional("Other sampler.", group="hires")
    hr_scheduler: Name | None = optional("Other noise schedule.", group="hires")
    hr_prompt: Prompt | None = optional("Other prompt; empty: the same.", group="hires")
    hr_negative_prompt: Prompt | None = optional("Other negative prompt; empty: the same.", group="hires")
