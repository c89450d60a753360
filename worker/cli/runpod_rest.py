"""The few calls of RunPod's REST API that `deploy` needs (https://rest.runpod.io/v1, bearer token, JSON)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.cli.deploy_plan import Kind

ADDRESS = "https://rest.runpod.io/v1"
TIMEOUT_S = (10, 60)
_SAID = 500


class RestFailed(Exception):
    """RunPod did not do what was asked; the message says what it answered."""


class Rest:
    """A connection to one account; not thread-safe."""

    def __init__(self, key: str, address: str = ADDRESS) -> None:
        self._address = address.rstrip("/")
        self._session = requests.Session()
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
            raise RestFailed(f"{method} {path}: {type(error).__name__}") from error
        if answer.status_code in {401, 403}:
            raise RestFailed(f"{method} {path}: {answer.status_code}, the key in RUNPOD_API_KEY is not accepted")
        if not answer.ok:
            raise RestFailed(f"{method} {path}: {answer.status_code} {answer.text[:_SAID]}")
        try:
            return answer.json()
        except ValueError as error:
            raise RestFailed(f"{method} {path}: the answer is not JSON") from error
