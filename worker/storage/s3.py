"""S3 and everything that speaks its protocol; the only module that knows boto3.

boto3 takes a second to import and is imported with the first client, long after the WebUI was started. Checksums are
set up so that R2, GCS and MinIO accept them: `Content-MD5` with each upload, none of boto3's newer trailers. Every
answer is checked: where the store returns an MD5 as ETag it has to be ours, else the object is read back.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import time
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from tenacity import RetryError, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from worker.common.clock import running
from worker.net.addresses import AllowList
from worker.net.guard import Guard
from worker.storage.keys import public_url
from worker.storage.links import LinkVerifier
from worker.storage.location import parse_endpoint
from worker.storage.object_store import StoredFile, StoreKind
from worker.storage.store_errors import StoreError, StoreFailure, read_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.storage.object_store import StoreTarget

    T = TypeVar("T")

ATTEMPTS = 5
_CONNECT_S = 5
_READ_S = 30
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0
_MD5 = re.compile(r"[0-9a-f]{32}")
_PLAIN_ENCRYPTION = (None, "AES256")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class ReadBackDiffers(Exception):
    """The store holds something other than what was sent."""


class S3Account:
    """boto3's client for one endpoint and one pair of keys; see `Connect` for its arguments."""

    def __init__(
        self, target: StoreTarget, guard: Guard, *, connections: int = 8, now: Callable[[], float] = running
    ) -> None:
        self.guard = guard
        self.now = now
        self.client = _connect(target, guard, connections)

    def store(self, target: StoreTarget) -> S3Store:
        """Return one of its buckets."""
        return S3Store(self, target)

    def __del__(self) -> None:
        """Close the connections once no bucket uses them any more."""
        with contextlib.suppress(Exception):  # a half made client, or the end of the interpreter
            self.client.close()


class S3Store:
    """One bucket; thread-safe.

    Args:
        account: The client for it.
        target: The bucket.
        sleep: Waits between retries.
    """

    def __init__(self, account: S3Account, target: StoreTarget, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.target = target
        self._account = account  # shared by the account's buckets, and closed with the last of them
        self._sleep = sleep
        self._now = account.now
        self._client = account.client
        verify, proxies = _way(target)
        self._links = LinkVerifier(
            _link_guard(target, account.guard), check=target.link_check, verify=verify, proxies=proxies, now=account.now
        )

    def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        deadline: float,
        linked: bool = True,
    ) -> None:
        """Store `data` under `key` and make sure that it is there, retrying what can be retried until `deadline`.

        With `linked` also that the link to it opens, as far as `links` does not know.

        Raises:
            StoreError: with the store's own code.
        """
        digest = hashlib.md5(data, usedforsecurity=False)

        def once() -> None:
            answer = self._client.put_object(
                Bucket=self.target.bucket,
                Key=key,
                Body=data,
                ContentType=content_type,
                ContentMD5=base64.b64encode(digest.digest()).decode("ascii"),
                Metadata=dict(metadata),
            )
            if not _vouched(answer, digest.hexdigest()):
                self._read_back(key, data)
            if linked and not self._links.prove(self.url(key), deadline):
                self._look_for(key)

        self._retried(once, deadline)

    def delete(self, key: str, *, deadline: float) -> None:
        """Remove `key`; removing what is not there is fine. Raises `StoreError`."""
        self._retried(lambda: self._client.delete_object(Bucket=self.target.bucket, Key=key), deadline)

    def get(self, key: str, *, deadline: float, most: int | None = None) -> bytes:
        """Return the bytes under `key`. Raises `StoreError`, with the code `TooLarge` for more than `most`."""
        return self._retried(lambda: self._read(key, most), deadline)

    def list(self, prefix: str, *, deadline: float) -> Sequence[StoredFile]:
        """Return the files whose keys begin with `prefix`. Raises `StoreError`."""

        def once() -> Sequence[StoredFile]:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.target.bucket, Prefix=prefix)
            return [
                StoredFile(one["Key"], int(one["Size"]), one["LastModified"].timestamp())
                for page in pages
                for one in page.get("Contents", [])
            ]

        return self._retried(once, deadline)

    def url(self, key: str) -> str:
        """Return the URL that a client downloads `key` from: the public one, else presigned for GET."""
        if self.target.public_url:
            return public_url(self.target.public_url, key)
        signed: str = self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self.target.bucket, "Key": key}, ExpiresIn=self.target.expiry_s
        )
        return signed

    def unverified_links_warning(self) -> str | None:
        """Return, once, the warning for clients that links could not be checked from here."""
        return self._links.unverified_warning()

    def _read(self, key: str, most: int | None = None) -> bytes:
        answer = self._client.get_object(Bucket=self.target.bucket, Key=key)
        with answer["Body"] as body:
            if most is not None and answer["ContentLength"] > most:
                raise StoreError(StoreFailure("TooLarge", None, f"it holds more than {most} bytes", retryable=False))
            data: bytes = body.read()
        return data

    def _look_for(self, key: str) -> None:
        """Ask the store itself for what no look at the link could tell; only that it is not there counts."""
        try:
            self._client.head_object(Bucket=self.target.bucket, Key=key)
        except Exception as error:  # noqa: BLE001 - whatever boto3 raises is read
            if read_failure(error).status == HTTPStatus.NOT_FOUND:
                raise ReadBackDiffers from None

    def _read_back(self, key: str, data: bytes) -> None:
        if self._read(key) != data:
            raise ReadBackDiffers

    def _retried(self, once: Callable[[], T], deadline: float) -> T:
        wait = wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S)
        tries = stop_after_attempt(ATTEMPTS)
        retrying = Retrying(
            stop=lambda state: tries(state) or self._now() + (state.upcoming_sleep or 0) >= deadline,
            wait=wait,
            retry=retry_if_exception(lambda error: read_failure(error).retryable),
            sleep=self._sleep,
            reraise=False,
        )
        try:
            return retrying(once)
        except RetryError as error:
            last = error.last_attempt
            cause = last.exception()
            failure = read_failure(cause) if cause else StoreFailure("Unknown", None, "unknown", retryable=True)
            raise StoreError(failure.after(last.attempt_number)) from None
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever boto3 raises becomes one typed failure
            raise StoreError(read_failure(error)) from None


def _vouched(answer: Mapping[str, Any], md5: str) -> bool:
    """Return whether the store's answer proves that it holds the bytes: ETag is their MD5, or says nothing of it.

    An ETag that is no MD5 (encryption with own keys, some services) proves nothing against the upload: the store has
    compared Content-MD5 before it answered. One that looks like an MD5 and differs does.
    """
    etag = str(answer.get("ETag", "")).strip('"').lower()
    if not etag:
        return False  # every store gives one: whoever answered may be no store at all
    if answer.get("ServerSideEncryption") not in _PLAIN_ENCRYPTION or answer.get("SSECustomerAlgorithm"):
        return True
    return etag == md5 or not _MD5.fullmatch(etag)


@lru_cache(maxsize=1)
def _session() -> Any:
    """Return the session that all clients are made from: it keeps the service's description, 0.3 s to read."""
    from boto3.session import Session  # noqa: PLC0415 - slow to import, see above

    return Session(botocore_session=_core())


@lru_cache(maxsize=1)
def _core() -> Any:
    """Return botocore's session; it knows no profile and no file of whatever else on this machine uses AWS."""
    from botocore.session import Session as Core  # noqa: PLC0415 - slow to import, see above

    nothing = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    return Core(session_vars={"profile": (None, None, None, None), **nothing})


def _without_expecting(params: Mapping[str, Any], **_: Any) -> None:
    """Send a picture without asking first ("Expect: 100-continue"): it saves a round trip.

    And a connection that ends within the answer to that question leaves botocore 1.44 turning in circles for ever, a
    whole core busy (`AWSConnection._consume_headers`).
    """
    params["headers"].pop("Expect", None)


def _without_redirects(response: tuple[Any, Any] | None, **_: Any) -> None:
    """End a request that is redirected, unless the store says by its own headers to which region.

    botocore would look for the region at the same address, be redirected again, and so on a thousand times.
    """
    answer = response[0] if response else None
    if answer is not None and answer.status_code in _REDIRECTS and "x-amz-bucket-region" not in answer.headers:
        place = urlsplit(answer.headers.get("Location", ""))
        where = f" to {place.scheme}://{place.hostname}" if place.hostname else ""
        raise StoreError(StoreFailure("Redirect", answer.status_code, f"it redirects{where}", retryable=False))


def _link_guard(target: StoreTarget, guard: Guard) -> Guard:
    """Return where links may lead: the operator's own to the operator's hosts, wherever these are."""
    if not target.trusted:
        return guard
    hosts = [urlsplit(url).hostname or "" for url in (target.endpoint, target.public_url or "")]
    return Guard(AllowList.of([*hosts, f"{target.bucket}.{hosts[0]}"]))


def _way(target: StoreTarget) -> tuple[bool | str, Callable[[str], Mapping[str, str]]]:
    """Return the roots and proxies of links to `target`: what boto3 takes from the environment for the store.

    A job's own store is reached without proxies, see `_connect`; links elsewhere are trusted as everybody does.
    """
    from botocore.utils import get_environ_proxies  # noqa: PLC0415 - slow, see above

    home = urlsplit(target.public_url or target.endpoint).hostname or ""
    store = urlsplit(target.endpoint).hostname or ""
    roots = _core().get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or True
    return (
        roots if home == store or home.endswith(f".{store}") else True,
        get_environ_proxies if target.trusted else lambda _: {},
    )


def _connect(target: StoreTarget, guard: Guard, connections: int) -> Any:
    from botocore.awsrequest import AWSHTTPConnectionPool, AWSHTTPSConnectionPool  # noqa: PLC0415 - slow, see above
    from botocore.config import Config  # noqa: PLC0415 - as above

    config = Config(
        signature_version="s3v4",
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        max_pool_connections=connections,
        tcp_keepalive=True,
        retries={"total_max_attempts": 1},  # retried here, where the deadline is known
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": target.addressing},
        proxies=None if target.trusted else {},  # a proxy would connect for us, past the guard
    )
    client = _session().client(
        "s3",
        endpoint_url=target.endpoint,
        region_name=target.region,
        aws_access_key_id=target.access_key,
        aws_secret_access_key=target.secret_key,
        aws_session_token=target.session_token,
        config=config,
    )
    client.meta.events.register("before-call.s3", _without_expecting)
    client.meta.events.register_first("needs-retry.s3", _without_redirects)
    if not target.trusted:
        pools = guard.pools(AWSHTTPConnectionPool, AWSHTTPSConnectionPool)
        client._endpoint.http_session._manager.pool_classes_by_scheme = pools  # noqa: SLF001 - botocore offers no other way in; a test holds it
    return client


S3 = StoreKind(parse=parse_endpoint, connect=S3Account)
