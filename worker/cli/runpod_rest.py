"""The few calls of RunPod's REST API that `deploy` needs (https://rest.runpod.io/v1, bearer token, JSON)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from urllib3.util import Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.cli.deploy_plan import Kind

ADDRESS = "https://rest.runpod.io/v1"
TIMEOUT_S = (10, 60)
PATIENCE = Retry(
    total=3, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), allowed_methods={"GET"}, raise_on_status=False
)
"""For questions; what changes something is sent once."""

WAIT = 429
_SAID = 500


class RestFailed(Exception):
    """RunPod did not do what was asked; the message says what it answered."""


class Rest:
    """A connection to one account; not thread-safe."""

    def __init__(self, key: str, address: str = ADDRESS) -> None:
        self._address = address.rstrip("/")
        self._session = requests.Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=PATIENCE))
        self._session.headers["Authorization"] = f"Bearer {key}"

    def list(self, kind: Kind) -> list[dict[str, Any]]:
        """Return the account's resources of `kind`."""
        answer = self._call("GET", kind)
        if not isinstance(answer, list):
            raise RestFailed(f"GET {kind}: expected a list, got {type(answer).__name__}")
        return answer

    def create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create a resource and return it with its id."""
        return self._resource("POST", kind, body)

    def update(self, kind: Kind, identity: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change the fields in `body` and return the resource."""
        return self._resource("PATCH", f"{kind}/{identity}", body)

    def _resource(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._call(method, path, body)
        if not isinstance(answer, dict) or not answer.get("id"):
            raise RestFailed(f"{method} {path}: the answer names no id")
        return answer

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            answer = self._session.request(method, f"{self._address}/{path}", json=body, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise RestFailed(f"{method} {path}: RunPod can't be reached ({type(error).__name__})") from error
        if answer.status_code in {401, 403}:
            raise RestFailed(f"{method} {path}: {answer.status_code}, the key in RUNPOD_API_KEY is not accepted")
        if answer.status_code == WAIT:
            raise RestFailed(f"{method} {path}: 429, RunPod has had too many requests; try again in a minute")
        if not answer.ok:
            raise RestFailed(f"{method} {path}: {answer.status_code} {answer.text[:_SAID]}")
        try:
            return answer.json()
        except ValueError as error:
            raise RestFailed(f"{method} {path}: the answer is not JSON") from error
