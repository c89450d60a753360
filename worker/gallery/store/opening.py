"""From the words of a command line to a gallery: which pictures, which endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from worker.gallery.store.bucket import Bucket, connect
from worker.gallery.store.folder import Folder
from worker.gallery.store.picture_store import StoreUnavailable
from worker.storage.location import BadEndpoint, parse_endpoint

if TYPE_CHECKING:
    from pydantic import SecretStr

    from worker.gallery.store.picture_store import PictureStore
    from worker.settings import Settings


def open_store(where: str, settings: Settings) -> PictureStore:
    """Return the pictures at a folder's path or at ``s3://bucket/prefix``.

    The bucket's service and keys are those of BUCKET_*; without BUCKET_ENDPOINT_URL they are AWS's own.

    Raises:
        StoreUnavailable: there is no such folder, or the address can't be used.
    """
    if not where.startswith("s3://"):
        if "://" in where:
            raise StoreUnavailable(f"{where} is neither a folder nor s3://bucket/prefix")
        return Folder(Path(where))
    try:
        parts = urlsplit(where)
    except ValueError:
        raise StoreUnavailable(f"{where} is not a valid address; write s3://bucket/prefix") from None
    if not parts.netloc:
        raise StoreUnavailable(f"{where} names no bucket; write s3://bucket/prefix")
    if settings.bucket_endpoint_url is None:
        client = connect(endpoint=None, region=settings.bucket_region, access_key=None, secret_key=None)
        return Bucket(client, parts.netloc, parts.path)
    try:
        place = parse_endpoint(
            settings.bucket_endpoint_url, settings.bucket_name or parts.netloc, settings.bucket_region
        )
    except BadEndpoint as error:
        raise StoreUnavailable(f"BUCKET_ENDPOINT_URL: {error}") from error
    client = connect(
        endpoint=place.endpoint,
        region=place.region,
        access_key=_plain(settings.bucket_access_key_id),
        secret_key=_plain(settings.bucket_secret_access_key),
        addressing=place.addressing,
    )
    return Bucket(client, parts.netloc, parts.path)


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value().strip() if secret is not None else None
