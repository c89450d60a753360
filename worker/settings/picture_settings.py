"""Settings of presets, of checks and judges of pictures, and of previews."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from worker.settings.env_fields import AnyCase, Seconds
from worker.settings.settings_group import SettingsGroup

ImageCheckAction = Annotated[Literal["flag", "blur", "refuse"], AnyCase]
Previews = Annotated[Literal["off", "cheap", "full"], AnyCase]


class PictureSettings(SettingsGroup):
    """Presets, wildcards, image check and previews."""

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
