"""The only file that knows boto3: puts bytes under keys, makes URLs, takes keys away.

boto3 takes a second to import and is imported with the first client, long after the WebUI was started. Checksums are
set up so that R2, GCS and MinIO accept them: `Content-MD5` with each upload, none of boto3's newer trailers. Every
answer is checked: where the store returns an MD5 as ETag it has to be ours, else the object is read back.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from tenacity import RetryError, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from worker.clock import running
from worker.delivery.failure import Failure, read_failure
from worker.delivery.keys import public_url
from worker.delivery.links import Links
from worker.net.addresses import AllowList
from worker.net.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.delivery.target import S3Target

    T = TypeVar("T")

ATTEMPTS = 5
_CONNECT_S = 5
_READ_S = 30
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0
_MD5 = re.compile(r"[0-9a-f]{32}")
_PLAIN_ENCRYPTION = (None, "AES256")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class StoreFailed(Exception):
    """A request that can't be helped by trying again, or was tried often enough."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ReadBackDiffers(Exception):
    """The store holds something other than what was sent."""


class S3Client:
    """One bucket's client; thread-safe, keeps its connections.

    Attributes:
        links: What is known of the links to it.

    Args:
        target: The bucket. A job's own target reaches only what `guard` allows.
        guard: Where untrusted targets may lead.
        connections: Kept open, at least as many as uploads run at once.
        sleep: Waits between tries.
        now: A monotonic clock in seconds.
    """

    def __init__(
        self,
        target: S3Target,
        guard: Guard,
        *,
        connections: int = 8,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = running,
    ) -> None:
        self.target = target
        self._sleep = sleep
        self._now = now
        self._client = _connect(target, guard, connections)
        verify, proxies = _way(target)
        self.links = Links(_link_guard(target, guard), check=target.link_check, verify=verify, proxies=proxies, now=now)

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
            StoreFailed: with the store's own code.
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
            if linked:
                self.links.prove(self.url(key), deadline)

        self._retried(once, deadline)

    def delete(self, key: str, *, deadline: float) -> None:
        """Remove `key`; removing what is not there is fine. Raises `StoreFailed`."""
        self._retried(lambda: self._client.delete_object(Bucket=self.target.bucket, Key=key), deadline)

    def get(self, key: str, *, deadline: float, most: int | None = None) -> bytes:
        """Return the bytes under `key`. Raises `StoreFailed`, with the code `TooLarge` for more than `most`."""
        return self._retried(lambda: self._read(key, most), deadline)

    def url(self, key: str) -> str:
        """Return the URL that a client downloads `key` from: the public one, else presigned for GET."""
        if self.target.public_url:
            return public_url(self.target.public_url, key)
        signed: str = self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self.target.bucket, "Key": key}, ExpiresIn=self.target.expiry_s
        )
        return signed

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _read(self, key: str, most: int | None = None) -> bytes:
        answer = self._client.get_object(Bucket=self.target.bucket, Key=key)
        with answer["Body"] as body:
            if most is not None and answer["ContentLength"] > most:
                raise StoreFailed(Failure("TooLarge", None, f"it holds more than {most} bytes", retryable=False))
            data: bytes = body.read()
        return data

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
            failure = read_failure(cause) if cause else Failure("Unknown", None, "unknown", retryable=True)
            raise StoreFailed(failure.after(last.attempt_number)) from None
        except StoreFailed:
            raise
        except Exception as error:  # noqa: BLE001 - whatever boto3 raises becomes one typed failure
            raise StoreFailed(read_failure(error)) from None


class S3Clients:
    """The clients by target: the operator's for as long as the worker lives, a few of jobs' own."""

    def __init__(self, guard: Guard, *, most: int = 8, **options: Any) -> None:
        self._guard = guard
        self._most = most
        self._options = options
        self._lock = threading.Lock()
        self._clients: dict[S3Target, S3Client] = {}

    def of(self, target: S3Target) -> S3Client:
        """Return the client of `target`, made with its first use."""
        with self._lock:
            client = self._clients.pop(target, None) or S3Client(target, self._guard, **self._options)
            self._clients[target] = client  # the latest used is last
            for old in [one for one in self._clients if not one.trusted][: -self._most]:
                self._clients.pop(old)  # not closed: an upload may still use it
            return client


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
        raise StoreFailed(Failure("Redirect", answer.status_code, f"it redirects{where}", retryable=False))


def _link_guard(target: S3Target, guard: Guard) -> Guard:
    """Return where links may lead: the operator's own to the operator's hosts, wherever these are."""
    if not target.trusted:
        return guard
    hosts = [urlsplit(url).hostname or "" for url in (target.endpoint, target.public_url or "")]
    return Guard(AllowList.of([*hosts, f"{target.bucket}.{hosts[0]}"]))


def _way(target: S3Target) -> tuple[bool | str, Callable[[str], Mapping[str, str]]]:
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


def _connect(target: S3Target, guard: Guard, connections: int) -> Any:
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
