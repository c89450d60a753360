"""RunPod as its customers see it, on loopback: the REST API that makes endpoints, and the endpoints themselves."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests

from tests.support.loopback_http import Reply, Request, serve

if TYPE_CHECKING:
    from collections.abc import Iterator


class Account:
    """Templates, endpoints and volumes by id, with RunPod's answers.

    Attributes:
        key: The one that is accepted.
        things: What there is, by kind and id.
    """

    def __init__(self, key: str = "rpa_sesame") -> None:
        self.key = key
        self.things: dict[str, dict[str, dict[str, Any]]] = {"templates": {}, "endpoints": {}, "networkvolumes": {}}

    def answer(self, request: Request) -> Reply:
        if _key(request) != self.key:
            return Reply(401, b"Unauthorized")
        kind, _, identity = request.path.removeprefix("/v1/").partition("/")
        things = self.things[kind]
        if request.method == "GET":
            return Reply(200, json.dumps(list(things.values())).encode())
        body = json.loads(request.body)
        if request.method == "POST":
            identity = f"{kind[0]}{len(things) + 1}"
            if kind == "endpoints" and body["templateId"] not in self.things["templates"]:
                return Reply(400, b'{"error": "template not found"}')
            flashboot = body.pop("flashboot", False)
            things[identity] = {**body, "id": identity}
            if flashboot:
                things[identity]["name"] += " -fb"
        else:
            things[identity].update(body)
        return Reply(200, json.dumps(things[identity]).encode())


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
