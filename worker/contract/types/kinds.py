"""The other kinds of jobs, and which kind a job is when it does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from worker.contract.types.base_model import Name, Ratio, StrictModel, Switch, optional
from worker.contract.types.composed.acceptance import Criteria
from worker.contract.types.composed.tiles import TILE_FIELDS, TilePrompt, Tiles
from worker.contract.types.composed.workflow import Continue, Workflow
from worker.contract.types.extensions import SoftInpainting, UltimateUpscale  # noqa: TC001 - pydantic reads the annotations
from worker.contract.types.fields import Choice, Number, Whole
from worker.contract.types.job import Generation, Job, Txt2Img
from worker.contract.types.model_jobs import ModelsList, ModelsPrefetch, ModelsRemove
from worker.contract.types.model_ref import LoraRef, ModelRef  # noqa: TC001 - as above
from worker.contract.types.picture_ref import Picture  # noqa: TC001 - pydantic reads the annotations

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_PICTURES = 16
MOST_JUDGED = 100
Role = Literal["character", "scene", "style", "quality", "size"]
"""Subject of a preset; presets of different roles add up."""
_TARGET = Whole(1, 8192)
_RESIZE_WORDS = {"just resize": 0, "stretch": 0, "crop and resize": 1, "crop": 1, "resize and fill": 2, "fill": 2}
_FILL_WORDS = {"fill": 0, "original": 1, "latent noise": 2, "noise": 2, "latent nothing": 3, "nothing": 3}


class Img2Img(Generation):
    """A picture from a picture and a prompt."""

    kind: ClassVar[str] = "img2img"

    type: Annotated[Literal["img2img"], Choice()] | None = optional("The kind of job.", group="job", plain=False)

    init_images: list[Picture] = Field(
        description="The pictures to start from: base64, data URL, https URL, s3:// or key:.",
        json_schema_extra={"group": "start", "plain": False},
        min_length=1,
        max_length=MOST_PICTURES,
    )
    resize_mode: Annotated[int, Whole(0, 3, words=_RESIZE_WORDS)] | None = optional(
        "When width and height are not the picture's: 0 stretch, 1 crop, 2 fill, 3 stretch the latent.", group="start"
    )
    image_cfg_scale: Annotated[float, Number(0, 30)] | None = optional("For instruct-pix2pix models.", group="start")
    initial_noise_multiplier: Annotated[float, Number(0, 1.5)] | None = optional(
        "Noise put on the picture.", group="start"
    )
    tiles: Tiles | None = optional("Redraw the picture tile by tile.", group="start", plain=False)
    ultimate_upscale: UltimateUpscale | None = optional(
        "Upscale tile by tile with Ultimate SD upscale.", group="extensions", plain=False
    )


class Outpaint(StrictModel):
    """Pixels by which the picture grows on each side."""

    left: Annotated[int, Whole(0, 1024, 8)] | None = optional("Pixels.", group="outpaint")
    right: Annotated[int, Whole(0, 1024, 8)] | None = optional("Pixels.", group="outpaint")
    top: Annotated[int, Whole(0, 1024, 8)] | None = optional("Pixels.", group="outpaint")
    bottom: Annotated[int, Whole(0, 1024, 8)] | None = optional("Pixels.", group="outpaint")


class Inpaint(Img2Img):
    """Part of a picture made anew."""

    kind: ClassVar[str] = "inpaint"

    type: Annotated[Literal["inpaint"], Choice()] | None = optional(  # type: ignore[assignment]  # each kind has its own word
        "The kind of job.", group="job", plain=False
    )

    mask: Picture | None = optional("White: what is made anew. Fitted to the picture.", group="mask", plain=False)
    mask_from_alpha: Switch | None = optional(
        "What is transparent in `mask` is made anew, not what is white, as in OpenAI's API.", group="mask", plain=False
    )
    outpaint: Outpaint | None = optional("Grow the picture and fill what is new.", group="mask", plain=False)
    mask_blur: Annotated[int, Whole(0, 64)] | None = optional("Pixels; default 4.", group="mask")
    mask_blur_x: Annotated[int, Whole(0, 64)] | None = optional("Pixels, across.", group="mask")
    mask_blur_y: Annotated[int, Whole(0, 64)] | None = optional("Pixels, down.", group="mask")
    mask_round: Switch | None = optional("Make the mask black and white; default true.", group="mask")
    inpainting_fill: Annotated[int, Whole(0, 3, words=_FILL_WORDS)] | None = optional(
        "What is under the mask at first: 0 surroundings, 1 the picture, 2 noise, 3 nothing.", group="mask"
    )
    inpaint_full_res: Switch | None = optional("Work on the masked part at full size; default true.", group="mask")
    inpaint_full_res_padding: Annotated[int, Whole(0, 256)] | None = optional("Pixels around it.", group="mask")
    inpainting_mask_invert: Annotated[int, Whole(0, 1)] | None = optional(
        "1: what is black is made anew.", group="mask"
    )
    soft_inpainting: SoftInpainting | None = optional("Blend softly.", group="extensions", plain=False)


class Upscale(Job, TilePrompt):
    """A larger picture, with `tiles` redrawn piece by piece."""

    kind: ClassVar[str] = "upscale"

    type: Annotated[Literal["upscale"], Choice({"extras": "upscale"})] | None = optional(
        "The kind of job.", group="job", plain=False
    )
    image: Picture = Field(
        description="The picture: base64, data URL, https URL, s3:// or key:.",
        json_schema_extra={"group": "upscale", "plain": False},
    )
    resize_mode: Annotated[int, Whole(0, 1)] | None = optional("0: by factor, 1: to a size.", group="upscale")
    upscaling_resize: Annotated[float, Number(1, 8)] | None = optional(
        "Factor; default 2. Also `scale`.", group="upscale"
    )
    upscaling_resize_w: Annotated[int, _TARGET] | None = optional("Or this width. Also `width`.", group="upscale")
    upscaling_resize_h: Annotated[int, _TARGET] | None = optional("Or this height. Also `height`.", group="upscale")
    upscaling_crop: Switch | None = optional("Crop to the size; default true.", group="upscale")
    upscaler_1: Name | None = optional(
        "Upscaler by name; default: the best that is installed. Also `upscaler`.", group="upscale"
    )
    fallback: Name | None = optional(
        "Upscaler instead of it where its weights are missing or broken: `Lanczos`.", group="upscale", plain=False
    )
    tiles: Tiles | None = optional("Redraw the larger picture tile by tile.", group="upscale", plain=False)
    upscaler_2: Name | None = optional("Second upscaler, mixed in.", group="upscale")
    extras_upscaler_2_visibility: Ratio | None = optional("How much of it.", group="upscale")
    gfpgan_visibility: Ratio | None = optional("Face restoration by GFPGAN.", group="upscale")
    codeformer_visibility: Ratio | None = optional("Face restoration by CodeFormer.", group="upscale")
    codeformer_weight: Ratio | None = optional("Of CodeFormer.", group="upscale")
    upscale_first: Switch | None = optional("Upscale before restoring faces.", group="upscale")


UPSCALE_WORDS = {
    "upscaler": "upscaler_1",
    "scale": "upscaling_resize",
    "width": "upscaling_resize_w",
    "height": "upscaling_resize_h",
}
"""Short names of an upscale job's fields → the WebUI's."""


class Interrogate(Job):
    """A caption or tags for a picture."""

    kind: ClassVar[str] = "interrogate"

    type: Annotated[Literal["interrogate"], Choice()] | None = optional("The kind of job.", group="job", plain=False)
    image: Picture = Field(description="The picture.", json_schema_extra={"group": "picture", "plain": False})
    model: (
        Annotated[
            Literal["clip", "deepdanbooru"],
            Choice({"deepbooru": "deepdanbooru", "caption": "clip", "tags": "deepdanbooru"}),
        ]
        | None
    ) = optional("clip: a caption (default); deepdanbooru: tags.")


class ControlMaps(Job):
    """The maps that a preprocessor of ControlNet makes of pictures: edges, depth, poses."""

    kind: ClassVar[str] = "control_maps"

    type: Annotated[Literal["control_maps"], Choice()] = Field(
        description="The kind of job.", json_schema_extra={"group": "job", "plain": False}
    )
    module: Name = Field(
        description="Preprocessor (`canny`, `depth_midas`, `openpose` …).",
        json_schema_extra={"group": "control_maps", "plain": False},
    )
    images: list[Picture] = Field(
        description="Pictures to look at.",
        json_schema_extra={"group": "control_maps", "plain": False},
        min_length=1,
        max_length=MOST_PICTURES,
    )
    masks: list[Picture] | None = optional(
        "A mask for each picture, where the preprocessor wants them.",
        group="control_maps",
        plain=False,
        max_length=MOST_PICTURES,
    )
    processor_res: Annotated[int, Whole(64, 2048)] | None = optional(
        "Shorter side of the maps; default 512.", group="control_maps", plain=False
    )
    threshold_a: Annotated[float, Number(-1, 10_000)] | None = optional(
        "First number of the preprocessor; default its own.", group="control_maps", plain=False
    )
    threshold_b: Annotated[float, Number(-1, 10_000)] | None = optional(
        "Second number.", group="control_maps", plain=False
    )


class PngInfo(Job):
    """Read from a picture file how it was made."""

    kind: ClassVar[str] = "png_info"

    type: Annotated[Literal["png_info"], Choice({"png-info": "png_info"})] | None = optional(
        "The kind of job.", group="job", plain=False
    )
    image: Picture = Field(description="The picture.", json_schema_extra={"group": "picture", "plain": False})


class JudgeImages(Job, Criteria):
    """Judge pictures; nothing is generated."""

    kind: ClassVar[str] = "judge"

    type: Annotated[Literal["judge"], Choice()] = Field(
        description="The kind of job.", json_schema_extra={"group": "job", "plain": False}
    )
    images: list[Picture] = Field(
        description="The pictures: base64, data URL, https URL, s3:// or key:.",
        json_schema_extra={"group": "judging", "plain": False},
        min_length=1,
        max_length=MOST_JUDGED,
    )


Listed = Literal[
    "samplers",
    "schedulers",
    "upscalers",
    "checkpoints",
    "loras",
    "vae",
    "embeddings",
    "styles",
    "scripts",
    "extensions",
    "controlnet",
    "memory",
    "health",
    "presets",
]


class Listing(Job):
    """A question about what the worker has."""

    kind: ClassVar[str] = "listing"

    type: Annotated[Listed, Choice({"vaes": "vae"})] = Field(
        description="What to list.", json_schema_extra={"group": "job", "plain": False}
    )
    role: Annotated[Role, Choice()] | None = optional("Of presets: only those of this role.", group="job", plain=False)


class Refresh(Job):
    """Look again for new model files."""

    kind: ClassVar[str] = "refresh"

    type: Annotated[Literal["refresh"], Choice()] = Field(
        description="The kind of job.", json_schema_extra={"group": "job", "plain": False}
    )
    what: list[Annotated[Literal["checkpoints", "loras", "vae", "embeddings"], Choice()]] | None = optional(
        "Default: all.", group="job", plain=False, max_length=4
    )


class Validate(Job):
    """A dry run: what would be sent, fetched and made; nothing is generated."""

    kind: ClassVar[str] = "validate"

    type: Annotated[Literal["validate"], Choice({"dry_run": "validate"})] = Field(
        description="The kind of job.", json_schema_extra={"group": "job", "plain": False}
    )
    job: dict[str, Any] = Field(description="The job to look at.", json_schema_extra={"group": "job", "plain": False})


class Prefetch(Job):
    """Fetch models now, so that later jobs find them; nothing is generated."""

    kind: ClassVar[str] = "prefetch"

    type: Annotated[Literal["prefetch"], Choice({"download": "prefetch"})] = Field(
        description="The kind of job.", json_schema_extra={"group": "job", "plain": False}
    )
    checkpoint: ModelRef | None = optional("A checkpoint.", group="models", plain=False)
    vae: ModelRef | None = optional("A VAE.", group="models", plain=False)
    loras: list[LoraRef] | None = optional("LoRAs.", group="models", plain=False, max_length=50)
    embeddings: list[ModelRef] | None = optional("Embeddings.", group="models", plain=False, max_length=50)
    upscalers: list[ModelRef] | None = optional(
        "Upscalers; the WebUI lists them when it starts.", group="models", plain=False, max_length=50
    )
    controlnets: list[ModelRef] | None = optional(
        "ControlNets; the WebUI lists them when it starts.", group="models", plain=False, max_length=50
    )
    detectors: list[ModelRef] | None = optional(
        "ADetailer's detectors; the WebUI lists them when it starts.", group="models", plain=False, max_length=50
    )
    annotators: list[ModelRef] | None = optional(
        "Weights of ControlNet's preprocessors.", group="models", plain=False, max_length=50
    )


class WebUIGet(Job):
    """One of the WebUI's own listings, answered raw; only existing clients' form `api` asks for it."""

    kind: ClassVar[str] = "webui_get"

    endpoint: str = Field(description="Path under the WebUI's root.")


KINDS: dict[str, type[Job]] = {
    "txt2img": Txt2Img,
    "img2img": Img2Img,
    "inpaint": Inpaint,
    "upscale": Upscale,
    "interrogate": Interrogate,
    "png_info": PngInfo,
    "judge": JudgeImages,
    "control_maps": ControlMaps,
    "listing": Listing,
    "refresh": Refresh,
    "validate": Validate,
    "prefetch": Prefetch,
    "models.list": ModelsList,
    "models.prefetch": ModelsPrefetch,
    "models.remove": ModelsRemove,
    "workflow": Workflow,
    "continue": Continue,
}
"""Kind of job → its type."""

LISTED: tuple[str, ...] = Listed.__args__  # type: ignore[attr-defined]  # what a Literal lists, typing has no name for it
_OTHER_WORDS = {
    "extras": "upscale",
    "png-info": "png_info",
    "dry_run": "validate",
    "vaes": "listing",
    "download": "prefetch",
    "caption": "interrogate",
}
TYPE_WORDS: dict[str, str] = {
    **{name: name for name in KINDS if name != "listing"},
    **dict.fromkeys(LISTED, "listing"),
    **_OTHER_WORDS,
}
"""Word in `type` → kind of job."""


def register(kind: type[Job]) -> None:
    """Let clients ask for `kind`, which is defined elsewhere; a kind without the field `type` is not for them."""
    if "type" in kind.model_fields and kind.kind not in KINDS:
        KINDS[kind.kind] = kind
        TYPE_WORDS[kind.kind] = kind.kind


def infer(fields: Mapping[str, object]) -> str | None:
    """Return the kind that `fields` can only mean, None when they may mean several."""
    if "mask" in fields or "outpaint" in fields:
        return "inpaint"
    if "init_images" in fields:
        return "img2img"
    if "image" in fields and "tiles" in fields:
        return "upscale"
    if "image" in fields and "prompt" not in fields:
        return "upscale" if any(_is_of_upscale(name) for name in fields) else None
    return "txt2img"


def _is_of_upscale(name: str) -> bool:
    own = Upscale.model_fields.keys() - Job.model_fields.keys() - {"image", "resize_mode", "type", *TILE_FIELDS}
    return name in own or name in UPSCALE_WORDS
