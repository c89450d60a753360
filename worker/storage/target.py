"""The store a job's pictures go to: the operator's, or the one a job brings along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from worker.common.suggestions import nearest
from worker.errors import InvalidInput, Problem, SettingsInvalid
from worker.storage.keys import BadTemplate, KeyTemplate
from worker.storage.location import BadEndpoint
from worker.storage.object_store import DAY_S, StoreTarget
from worker.storage.stores import parse_location

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.settings import LinkCheck, Settings

_LONGEST = 4096
"""Characters of one field of a job's own store."""


def from_settings(settings: Settings) -> StoreTarget | None:
    """Return the operator's store, None when there is none.

    Raises:
        SettingsInvalid: incomplete or unusable; names the variable.
    """
    if settings.bucket_endpoint_url is None:
        return None
    keys = {
        "BUCKET_ACCESS_KEY_ID": settings.bucket_access_key_id,
        "BUCKET_SECRET_ACCESS_KEY": settings.bucket_secret_access_key,
    }
    missing = [name for name, value in keys.items() if value is None or not value.get_secret_value().strip()]
    if missing:
        raise SettingsInvalid(f"BUCKET_ENDPOINT_URL is set, so {' and '.join(missing)} must be too")
    access, secret = (value.get_secret_value().strip() for value in keys.values() if value is not None)
    try:
        place = parse_location(settings.bucket_endpoint_url, settings.bucket_name, settings.bucket_region)
    except BadEndpoint as error:
        names = {"endpoint": "BUCKET_ENDPOINT_URL", "bucket": "BUCKET_NAME", "region": "BUCKET_REGION"}
        raise SettingsInvalid(f"{names[error.part]}: {error}") from None
    return StoreTarget(
        endpoint=place.endpoint,
        bucket=place.bucket,
        region=place.region,
        addressing=place.addressing,
        access_key=access,
        secret_key=secret,
        prefix="/".join(part for part in (place.folder, settings.bucket_prefix.strip("/")) if part),
        expiry_s=settings.bucket_url_expiry_s,
        public_url=settings.bucket_public_url,
        trusted=True,
        link_check=settings.bucket_link_check,
    )


def key_template(settings: Settings) -> KeyTemplate:
    """Return the template of pictures' names in a store.

    Raises:
        SettingsInvalid: it can't be used; says why.
    """
    try:
        return KeyTemplate(settings.bucket_key)
    except BadTemplate as error:
        raise SettingsInvalid(f"BUCKET_KEY={settings.bucket_key!r} {error}") from None


_FIELDS = ("accessId", "accessSecret", "endpointUrl")
_OPTIONAL = ("bucketName", "region", "sessionToken")
_KNOWN = (*_FIELDS, *_OPTIONAL)
_SHOWN = 60


def from_job(config: Any, *, prefix: str = "", expiry_s: int = DAY_S, link_check: LinkCheck = "once") -> StoreTarget:
    """Return the store that a job brings in its top-level `s3Config`.

    `{accessId, accessSecret, bucketName, endpointUrl}` as RunPod defines it; `bucketName` may be part of the endpoint,
    `region` may be given where the endpoint does not tell it, `sessionToken` belongs to temporary keys.

    Raises:
        InvalidInput: every mistake with its path (`s3Config.endpointUrl`); never a value of a key.
    """
    if not isinstance(config, dict):
        raise InvalidInput.at("s3Config", "must be an object {accessId, accessSecret, bucketName, endpointUrl}")
    problems = [problem for name in _FIELDS if (problem := _text_problem(config, name, needed=True))]
    problems += [problem for name in _OPTIONAL if (problem := _text_problem(config, name, needed=False))]
    others = [str(name)[:_SHOWN] for name in config if name not in _KNOWN]
    problems += [Problem(f"s3Config.{name}", "is not a field", nearest(name, _KNOWN)) for name in others]
    if problems:
        raise InvalidInput(problems)
    try:
        place = parse_location(config["endpointUrl"], config.get("bucketName") or None, config.get("region") or None)
    except BadEndpoint as error:
        names: dict[Literal["endpoint", "bucket", "region"], str]
        names = {"endpoint": "endpointUrl", "bucket": "bucketName", "region": "region"}
        raise InvalidInput.at(f"s3Config.{names[error.part]}", str(error)) from None
    return StoreTarget(
        endpoint=place.endpoint,
        bucket=place.bucket,
        region=place.region,
        addressing=place.addressing,
        access_key=config["accessId"].strip(),
        secret_key=config["accessSecret"].strip(),
        session_token=(config.get("sessionToken") or "").strip() or None,
        prefix="/".join(part for part in (place.folder, prefix.strip("/")) if part),
        expiry_s=expiry_s,
        link_check=link_check,
    )


def _text_problem(config: Mapping[str, Any], name: str, *, needed: bool) -> Problem | None:
    value = config.get(name)
    if value is None and not needed:
        return None
    if value is None:
        return Problem(f"s3Config.{name}", "is missing")
    if isinstance(value, str) and len(value) > _LONGEST:
        return Problem(f"s3Config.{name}", f"has {len(value)} characters; at most {_LONGEST} are read")
    if not isinstance(value, str) or (needed and not value.strip()):
        return Problem(f"s3Config.{name}", "must be text" if not isinstance(value, str) else "must not be empty")
    return None if value.isprintable() and value.isascii() else Problem(f"s3Config.{name}", "must be plain ASCII text")
