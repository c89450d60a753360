"""RunPod as its customers see it, on loopback: the REST API that makes endpoints, and the endpoints themselves."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

import requests
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tests.support.loopback_http import Reply, Request, serve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Strict(BaseModel):
    """A body of the API: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class GpuBody(Strict):
    pools: list[str] | None = Field(None, min_length=1)
    excludedTypes: list[str] | None = None  # noqa: N815 - RunPod's names, here and below
    count: int = Field(1, ge=1)
    allowedCudaVersions: list[str] | None = None  # noqa: N815
    minCudaVersion: str | None = None  # noqa: N815


class WorkersBody(Strict):
    min: int = Field(0, ge=0)
    max: int = Field(3, ge=0)
    idleTimeout: int | None = Field(None, ge=1, le=3600)  # noqa: N815


class QueueDelay(Strict):
    type: Literal["QUEUE_DELAY"]
    queueDelay: float = Field(ge=0.5)  # noqa: N815


class RequestCount(Strict):
    type: Literal["REQUEST_COUNT"]
    requestCount: int = Field(ge=1)  # noqa: N815


class ChangeEndpoint(Strict):
    name: str | None = None
    image: str | None = None
    args: str | None = None
    disk: int | None = Field(None, ge=1)
    ports: list[str] | None = None
    env: dict[str, str] | None = None
    registry: str | None = None
    gpu: GpuBody | None = None
    workers: WorkersBody | None = None
    scaling: QueueDelay | RequestCount | None = Field(None, discriminator="type")
    dataCenterIds: list[str] | None = None  # noqa: N815
    networkVolumes: list[str] | None = None  # noqa: N815
    timeout: int | None = Field(None, ge=5_000, le=604_800_000)
    flashboot: Literal["OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"] | None = None


class CreateEndpoint(ChangeEndpoint):
    name: str
    type: Literal["QUEUE", "LOAD_BALANCER"]
    image: str
    gpu: GpuBody
    scaling: QueueDelay | RequestCount = Field(discriminator="type")


class CreateVolume(Strict):
    name: str
    size: int = Field(ge=10, le=4096)
    dataCenter: str  # noqa: N815
    type: Literal["STANDARD", "HIGH_PERFORMANCE"] | None = None


class ChangeVolume(Strict):
    name: str | None = None
    size: int | None = Field(None, ge=10, le=4096)


class Refused(Exception):
    """A problem: its status, and what is wrong."""

    def __init__(self, status: int, detail: str, errors: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, list(errors)


GPUS: list[dict[str, Any]] = [
    {"id": name, "name": name.removeprefix("NVIDIA "), "pool": pool, "memory": memory}
    for pool, memory, names in (
        ("AMPERE_16", 16, ("NVIDIA RTX A4000", "NVIDIA RTX A4500", "NVIDIA RTX 2000 Ada Generation")),
        ("AMPERE_24", 24, ("NVIDIA L4", "NVIDIA RTX A5000", "NVIDIA GeForce RTX 3090", "NVIDIA RTX PRO 6000 MIG 24GB")),
        ("ADA_24", 24, ("NVIDIA GeForce RTX 4090", "NVIDIA RTX PRO 5000 Blackwell")),
        ("ADA_48_PRO", 48, ("NVIDIA L40", "NVIDIA L40S", "NVIDIA RTX 6000 Ada Generation")),
        ("ADA_32_PRO", 32, ("NVIDIA GeForce RTX 5090",)),
        (None, 12, ("NVIDIA GeForce RTX 3060",)),
    )
    for name in names
]


class Account:
    """RunPod's REST API v2 for one account, as strict as its published schema.

    Attributes:
        key: The one that is accepted.
        endpoints: By id.
        volumes: By id.
        workers: An endpoint's workers; one that idles where nothing is said.
        logs: Lines by worker id.
        tells_exclusions: Whether an endpoint's ``gpu`` names the excluded types.
    """

    def __init__(self, key: str = "rpa_sesame") -> None:
        self.key = key
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        self.workers: dict[str, list[dict[str, Any]]] = {}
        self.logs: dict[str, list[str]] = {}
        self.tells_exclusions = False
        self._excluded: dict[str, list[str]] = {}

    def answer(self, request: Request) -> Reply:
        if request.path.startswith("/v1"):
            return Reply(410, b"Gone")
        limits = {
            "RateLimit": '"minute";r=59;t=12, "hour";r=2800;t=1812',
            "RateLimit-Policy": '"minute";q=60;w=60, "hour";q=3000;w=3600',
        }
        if _key(request) != self.key:
            return problem_reply(401, "invalid API key", (), limits)
        try:
            status, content = self._route(request)
        except Refused as problem:
            return problem_reply(problem.status, problem.detail, problem.errors, limits)
        if isinstance(content, bytes):
            return Reply(status, content, {"Content-Type": "text/event-stream", **limits})
        body = b"" if content is None else json.dumps(content).encode()
        return Reply(status, body, {"Content-Type": "application/json", **limits})

    def excluded(self, endpoint: str) -> list[str]:
        return self._excluded.get(endpoint, [])

    def _route(self, request: Request) -> tuple[int, Any]:  # noqa: C901, PLR0911 - one case for each route
        body = json.loads(request.body) if request.body else None
        match [request.method, *request.path.removeprefix("/v2/").split("/")]:
            case ["GET", "catalog", "gpus"]:
                return 200, {"gpus": GPUS}
            case ["GET", "serverless"]:
                return 200, {"endpoints": [self._told(identity) for identity in self.endpoints]}
            case ["POST", "serverless"]:
                return 201, self._create_endpoint(body)
            case ["GET", "serverless", identity, "workers"] if identity in self.endpoints:
                return 200, self._workers(identity)
            case ["GET", "serverless", identity, "workers", worker, "logs"] if identity in self.endpoints:
                return 200, "".join(f"data: {json.dumps({'message': line})}\n\n" for line in self.logs[worker]).encode()
            case ["PATCH", "serverless", identity] if identity in self.endpoints:
                return 200, self._change_endpoint(identity, body)
            case ["DELETE", "serverless", identity] if identity in self.endpoints:
                del self.endpoints[identity]
                return 204, None
            case ["GET", "network-volumes"]:
                return 200, {"networkVolumes": list(self.volumes.values())}
            case ["POST", "network-volumes"]:
                volume = _read(CreateVolume, body)
                identity = f"v{len(self.volumes) + 1}"
                self.volumes[identity] = {"id": identity, "type": "STANDARD", **volume}
                return 201, self.volumes[identity]
            case ["PATCH", "network-volumes", identity] if identity in self.volumes:
                change = _read(ChangeVolume, body)
                if change.get("size", 4096) < self.volumes[identity]["size"]:
                    raise Refused(400, "a network volume can only grow")
                self.volumes[identity].update(change)
                return 200, self.volumes[identity]
        raise Refused(404, f"{request.path} does not exist or is not accessible")

    def _create_endpoint(self, body: Any) -> dict[str, Any]:
        endpoint = _read(CreateEndpoint, body)
        _check_scaling(endpoint["type"], endpoint["scaling"], endpoint.get("workers") or {})
        identity = f"e{len(self.endpoints) + 1}"
        self._take_gpu(identity, endpoint["gpu"], endpoint["gpu"])
        workers = {"min": 0, "max": 3, **(endpoint.get("workers") or {})}
        if endpoint["type"] != "QUEUE" or endpoint["scaling"]["type"] != "REQUEST_COUNT":
            workers.setdefault("idleTimeout", 10)
        self.endpoints[identity] = {
            "flashboot": "OFF",
            "timeout": 300_000,
            "env": {},
            "dataCenterIds": [],
            "networkVolumes": [],
            **endpoint,
            "id": identity,
            "workers": workers,
            "createdAt": "2026-12-01T00:00:00Z",
        }
        return self._told(identity)

    def _change_endpoint(self, identity: str, body: Any) -> dict[str, Any]:
        there = self.endpoints[identity]
        change = _read(ChangeEndpoint, body)
        workers = {**there["workers"], **change.get("workers", {})}
        _check_scaling(there["type"], change.get("scaling", there["scaling"]), change.get("workers", {}))
        if "gpu" in change:
            gpu = {**there["gpu"], **change["gpu"]}
            self._take_gpu(identity, change["gpu"], gpu)
            change["gpu"] = gpu
        there.update({**change, "workers": workers})
        return self._told(identity)

    def _take_gpu(self, identity: str, sent: dict[str, Any], whole: dict[str, Any]) -> None:
        excluded = whole.pop("excludedTypes", None) or []
        if excluded and "pools" not in sent:
            raise Refused(400, "excludedTypes needs pools")
        if whole.get("allowedCudaVersions") and whole.get("minCudaVersion"):
            raise Refused(400, "allowedCudaVersions and minCudaVersion exclude each other")
        members = {gpu["id"] for gpu in GPUS if gpu["pool"] in whole["pools"]}
        if unknown := set(whole["pools"]) - {gpu["pool"] for gpu in GPUS}:
            raise Refused(400, f"unknown pools: {sorted(unknown)}")
        if not set(excluded) < members:
            raise Refused(400, f"excludedTypes must leave a type of the pools: {sorted(set(excluded) - members)}")
        if "pools" in sent:
            self._excluded[identity] = excluded

    def _told(self, identity: str) -> dict[str, Any]:
        endpoint = self.endpoints[identity]
        gpu = {"allowedCudaVersions": [], "minCudaVersion": None, **endpoint["gpu"]}
        if self.tells_exclusions:
            gpu["excludedTypes"] = self.excluded(identity)
        queue = {name: f"https://api.runpod.ai/v2/{identity}/{name.lower()}" for name in ("run", "runSync", "health")}
        balancer = {"base": f"https://{identity}.api.runpod.ai", "health": f"https://{identity}.api.runpod.ai/ping"}
        return {**endpoint, "gpu": gpu, "requestUrls": queue if endpoint["type"] == "QUEUE" else balancer}

    def _workers(self, identity: str) -> dict[str, Any]:
        workers = self.workers.get(identity, [{"id": "w1", "status": "IDLE", "isStale": False}])
        return {"workers": workers, "summary": {"total": len(workers)}, "endpointVersion": 1}


def problem_reply(
    status: int, detail: str, errors: Sequence[str] = (), headers: Mapping[str, str] | None = None
) -> Reply:
    """An answer with problem details, as RFC 9457 has them."""
    problem: dict[str, Any] = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if errors:
        problem["errors"] = list(errors)
    return Reply(status, json.dumps(problem).encode(), {"Content-Type": "application/problem+json", **(headers or {})})


def _read(model: type[Strict], body: Any) -> dict[str, Any]:
    try:
        return model.model_validate(body).model_dump(exclude_unset=True)
    except ValidationError as error:
        errors = [f"$.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise Refused(422, "request body is not valid", errors) from None


def _check_scaling(kind: str, scaling: dict[str, Any], workers: dict[str, Any]) -> None:
    if kind == "LOAD_BALANCER" and scaling["type"] != "REQUEST_COUNT":
        raise Refused(422, "a load balancing endpoint scales by REQUEST_COUNT")
    if kind == "QUEUE" and scaling["type"] == "REQUEST_COUNT" and workers.get("idleTimeout") is not None:
        raise Refused(422, "idleTimeout is not allowed with REQUEST_COUNT on a queue")


@dataclass
class Endpoints:
    """``api.runpod.ai/v2``: every endpoint id leads to one worker behind plain HTTP.

    Attributes:
        worker: Its address.
        worker_key: Its key.
        key: The customer's.
        refusals: Answers that come first, one for each request.
    """

    worker: str = ""
    worker_key: str = ""
    key: str = "rpa_sesame"
    refusals: list[Reply] = field(default_factory=list)
    url: str = ""

    def answer(self, request: Request) -> Reply:
        if self.refusals:
            return self.refusals.pop(0)
        if _key(request) != self.key:
            return Reply(401)
        _, version, _, path = request.path.split("/", 3)
        if version != "v2":
            return Reply(404)
        query = f"?{request.query}" if request.query else ""
        answer = requests.request(
            request.method,
            f"{self.worker}/{path}{query}",
            data=request.body,
            headers={"Authorization": f"Bearer {self.worker_key}"},
            timeout=60,
        )
        return Reply(answer.status_code, answer.content, {"Content-Type": "application/json"})


@contextmanager
def running_endpoints() -> Iterator[Endpoints]:
    endpoints = Endpoints()
    with serve(endpoints.answer) as server:
        endpoints.url = f"{server.url}/v2"
        yield endpoints


def _key(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")
