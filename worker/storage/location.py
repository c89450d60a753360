"""The ways people write where their bucket is. Pure.

RunPod's own convention puts the bucket into the endpoint's host (`https://bucket.s3.eu-west-1.amazonaws.com`); others
put it into the path or give it separately. From any of these come the service's address, the bucket, the region that
signatures name, and how the bucket is addressed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import unquote, urlsplit

Addressing = Literal["path", "virtual"]

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_IN_FRONT = r"(?:(?P<bucket>.+)\.)?"
_KNOWN: tuple[tuple[str, str, Addressing], ...] = (
    # host without the bucket; the region where the host tells none; how buckets are addressed
    (
        r"s3(?:\.dualstack)?(?:[.-](?P<region>[a-z]{2}(?:-[a-z]+)+-\d))?\.amazonaws\.com(?:\.cn)?",
        "us-east-1",
        "virtual",
    ),
    (r"[0-9a-f]{32}(?:\.(?:eu|fedramp))?\.r2\.cloudflarestorage\.com", "auto", "path"),
    (r"storage\.googleapis\.com", "auto", "path"),
    (r"s3api-(?P<region>[a-z0-9-]+)\.runpod\.io", "", "path"),
    (r"(?P<region>[a-z]{3}\d)\.digitaloceanspaces\.com", "", "virtual"),
    (r"(?P<region>[a-z]{2}-[a-z]+-\d)\.linodeobjects\.com", "", "virtual"),
    (r"(?P<region>[a-z]{3}\d)\.your-objectstorage\.com", "", "virtual"),
    (r"s3\.(?P<region>[a-z0-9-]+)\.(?:backblazeb2\.com|wasabisys\.com|scw\.cloud)", "", "virtual"),
    (r"s3\.(?P<region>[a-z0-9-]+)(?:\.io)?\.cloud\.ovh\.(?:net|us)", "", "virtual"),
    (r"s3\.(?P<region>[a-z0-9-]+)\.cloud-object-storage\.appdomain\.cloud", "", "virtual"),
)
_SERVICES = tuple((re.compile(_IN_FRONT + pattern), region, addressing) for pattern, region, addressing in _KNOWN)
_SUPABASE = "/storage/v1/s3"


class BadEndpoint(ValueError):
    """The endpoint can't be used; `part` is what is wrong: `endpoint`, `bucket` or `region`."""

    def __init__(self, part: Literal["endpoint", "bucket", "region"], message: str) -> None:
        super().__init__(message)
        self.part = part


@dataclass(frozen=True, slots=True)
class Location:
    """The place of a bucket.

    Attributes:
        endpoint: The service's own address, without the bucket.
        bucket: Its name.
        region: What signatures name; `us-east-1` where the service does not care.
        addressing: `virtual`: bucket in the host; `path`: in the path.
        folder: What of the endpoint's path followed the bucket; a prefix of keys.
    """

    endpoint: str
    bucket: str
    region: str
    addressing: Addressing
    folder: str = ""


def parse_endpoint(endpoint: str, bucket: str | None = None, region: str | None = None) -> Location:
    """Return where `endpoint` (and `bucket`, when it is not in there) leads.

    Raises:
        BadEndpoint: not an http(s) URL, credentials or a query inside, no bucket, two different ones, a bad name.
    """
    scheme, host, port, path = _split(endpoint)
    service, inside, found_region, addressing = _service(host, bucket)
    base, rest = (_SUPABASE, path[len(_SUPABASE) :]) if path.startswith(_SUPABASE) else ("", path)
    segments = [unquote(segment) for segment in rest.split("/") if segment]
    if inside is None and segments and bucket in (None, "", segments[0]):
        inside, segments = segments[0], segments[1:]
    elif bucket and inside is None and segments and segments[-1] == bucket:
        base, inside, segments = "/".join([base, *segments[:-1]]), bucket, []
    name = bucket or inside
    if not name:
        raise BadEndpoint("bucket", f"no bucket: neither the endpoint {host} nor the bucket's name says which")
    if bucket and inside and bucket != inside:
        raise BadEndpoint("bucket", f"the endpoint names the bucket {inside!r}, the bucket's name says {bucket!r}")
    if not _BUCKET.fullmatch(name) or ".." in name:
        raise BadEndpoint("bucket", f"{name!r} is no name of a bucket")
    if region is not None and not re.fullmatch(r"[A-Za-z0-9-]{2,40}", region):
        raise BadEndpoint("region", f"{region!r} is no name of a region")
    return Location(
        endpoint=f"{scheme}://{service}{f':{port}' if port else ''}{base}",
        bucket=name,
        region=region or found_region,
        addressing="path" if "." in name and scheme == "https" else addressing,  # no certificate covers two levels
        folder="/".join(segments),
    )


def _split(endpoint: str) -> tuple[str, str, int | None, str]:
    try:
        parts = urlsplit(endpoint.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise BadEndpoint("endpoint", "not a valid URL") from None
    if parts.scheme not in ("http", "https"):
        raise BadEndpoint("endpoint", "must start with https:// or http://")
    if not host:
        raise BadEndpoint("endpoint", "names no host")
    if "@" in parts.netloc:
        raise BadEndpoint("endpoint", "must not hold credentials")
    if parts.query or parts.fragment:
        raise BadEndpoint("endpoint", "must not hold a query")
    return parts.scheme, f"[{host}]" if ":" in host else host, port, parts.path.rstrip("/")


def _service(host: str, bucket: str | None) -> tuple[str, str | None, str, Addressing]:
    """Return the service's own host, the bucket in front of it, its region, and how buckets are addressed."""
    for pattern, region, addressing in _SERVICES:
        if known := pattern.fullmatch(host):
            groups = known.groupdict()
            told = groups.get("region")
            inside = groups["bucket"]
            own = host[len(inside) + 1 :] if inside else host
            return own, inside, (told.upper() if told and own.endswith(".runpod.io") else told or region), addressing
    if bucket and host.startswith(f"{bucket}.") and not _is_address(host):
        return host[len(bucket) + 1 :], bucket, "us-east-1", "virtual"
    return host, None, "us-east-1", "path"


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
