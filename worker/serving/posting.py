"""Results posted to the address that a job names: guarded like every address of a client, signed, tried again."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import urllib3

from worker.net.addresses import AllowList
from worker.net.errors import FetchError
from worker.net.guard import Guard
from worker.serving.webhook import headers
from worker.strict_json import encode
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PAUSES_S = (1.0, 5.0, 25.0)
TIMEOUT_S = 10.0
MOST_BYTES = 200_000_000
"""Of all results that wait to be posted: an address that does not answer holds each of its own for a minute."""
FINE = range(200, 300)
AGAIN = range(500, 600)


class Webhooks:
    """Posts in threads of its own.

    Args:
        allowed: Hosts that may be named although they are not public.
        secret: Signs what is posted; None: nothing is signed.
        now: Seconds since the epoch.
        sleep: Waits between tries.
    """

    def __init__(
        self,
        allowed: Sequence[str],
        secret: str | None,
        *,
        now: Callable[[], float],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._secret = secret
        self._now = now
        self._sleep = sleep
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(TIMEOUT_S, TIMEOUT_S), retries=False)
        self._http.pool_classes_by_scheme = Guard(AllowList.of(allowed)).pools()
        self._lock = threading.Lock()
        self._bytes = 0
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="webhook")
        self._log = get_logger("webhook")

    def post(self, url: object, job_id: str, told: Mapping[str, Any]) -> None:
        """Post what is told of a job, if it named an address."""
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            return
        body = encode(dict(told))
        with self._lock:
            crowded = self._bytes > 0 and self._bytes + len(body) > MOST_BYTES
            self._bytes += 0 if crowded else len(body)
        if crowded:
            self._log.warning("a webhook is left out: too much waits for others that do not answer", job_id=job_id)
            return
        self._pool.submit(self._post, url, job_id, body).add_done_callback(lambda _: self._posted(len(body)))

    def close(self) -> None:
        """Wait for what is on its way."""
        self._pool.shutdown()

    def _posted(self, size: int) -> None:
        with self._lock:
            self._bytes -= size

    def _post(self, url: str, job_id: str, body: bytes) -> None:
        for pause in (*PAUSES_S, None):
            signed = headers(self._secret, job_id, body, now=self._now()) if self._secret else {}
            try:
                answer = self._http.request(
                    "POST", url, body=body, headers={"Content-Type": "application/json", **signed}, redirect=False
                )
            except FetchError as error:
                self._log.warning("a webhook is refused", job_id=job_id, error=str(error))
                return
            except (urllib3.exceptions.HTTPError, OSError) as error:
                why = type(error).__name__
            else:
                if answer.status in FINE:
                    return
                why = f"status {answer.status}"
                if answer.status not in AGAIN:
                    pause = None  # noqa: PLW2901 - it would say the same again
            if pause is None:
                self._log.warning("a webhook did not take its result", job_id=job_id, why=why)
                return
            self._sleep(pause)
