"""Settings of the result cache and of the way pictures are delivered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from worker.settings.env_fields import AnyCase, Bytes, HeaderSecret, Seconds, Url, WholeSeconds
from worker.settings.settings_group import SettingsGroup

if TYPE_CHECKING:
    from typing_extensions import Self

DeliveryMode = Annotated[Literal["auto", "base64", "s3"], AnyCase]
AnswerForm = Annotated[Literal["native", "a1111"], AnyCase]
UnknownFieldRule = Annotated[Literal["auto", "refuse", "warn"], AnyCase]
LinkCheck = Annotated[Literal["once", "always", "off"], AnyCase]


class ResultCacheSettings(SettingsGroup):
    """Result cache."""

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


class DeliverySettings(SettingsGroup):
    """Delivery."""

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

    @model_validator(mode="after")
    def _s3_has_an_endpoint(self) -> Self:
        if self.delivery == "s3" and self.bucket_endpoint_url is None:
            raise ValueError("DELIVERY=s3 needs BUCKET_ENDPOINT_URL")
        return self
