"""The endpoint as an OpenAPI document: RunPod's paths with this contract's jobs and answers."""

from __future__ import annotations

from typing import Any

from worker import __version__
from worker.contract.schema import schema

_PREFIX = "#/components/schemas/"
_INNER = frozenset({"ProblemAnswer", "PartAnswer", "StageAnswer", "ContinuedAnswer", "CachedAnswer"})
_STATES = ["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]


def component_schemas() -> dict[str, Any]:
    """Return the schemas of jobs and answers as an OpenAPI document's components hold them."""
    document = schema()
    job = {name: part for name, part in document.items() if name not in {"$schema", "$defs"}}
    schemas = {
        **document["$defs"],
        "Input": job,
        "Job": {
            "type": "object",
            "required": ["input"],
            "properties": {
                "input": {"$ref": f"{_PREFIX}Input"},
                "webhook": {"type": "string", "format": "uri", "description": "Gets the result."},
                "policy": {
                    "type": "object",
                    "properties": {"executionTimeout": {"type": "integer", "description": "Milliseconds."}},
                },
                "s3Config": {
                    "type": "object",
                    "description": "A store of the client's own, for this job's pictures.",
                    "properties": {
                        name: {"type": "string"}
                        for name in ("accessId", "accessSecret", "bucketName", "endpointUrl", "region", "sessionToken")
                    },
                },
            },
        },
        "Result": {
            "type": "object",
            "required": ["id", "status"],
            "properties": {
                "id": {"type": "string"},
                "status": {"type": "string", "enum": _STATES},
                "delayTime": {"type": "integer", "description": "Milliseconds in the queue."},
                "executionTime": {"type": "integer", "description": "Milliseconds."},
                "output": {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in _answers(document)]},
                "error": {"type": "string"},
            },
        },
    }
    moved: dict[str, Any] = _moved(schemas)
    return moved


def openapi() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of an endpoint that runs this worker."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "A1111 worker",
            "version": __version__,
            "description": "AUTOMATIC1111's Stable Diffusion WebUI as a serverless endpoint on RunPod.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [
            {
                "url": "https://api.runpod.ai/v2/{endpoint}",
                "variables": {"endpoint": {"default": "ENDPOINT_ID", "description": "The endpoint's id."}},
            }
        ],
        "security": [{"key": []}],
        "paths": {
            "/runsync": {"post": _operation("runsync", "Run a job and wait for its result.", body="Job")},
            "/run": {"post": _operation("run", "Put a job into the queue.", body="Job")},
            "/status/{id}": {"get": _operation("status", "Ask for a job's result.", with_id=True)},
            "/cancel/{id}": {"post": _operation("cancel", "Cancel a job; the WebUI is interrupted.", with_id=True)},
        },
        "components": {
            "schemas": component_schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "A RunPod API key."}},
        },
    }


def _answers(document: dict[str, Any]) -> list[str]:
    return sorted(name for name in document["$defs"] if name.endswith("Answer") and name not in _INNER)


def _operation(name: str, about: str, *, body: str | None = None, with_id: bool = False) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": about,
        "responses": {
            "200": {
                "description": "The job's state, and its answer when it is done.",
                "content": {"application/json": {"schema": {"$ref": f"{_PREFIX}Result"}}},
            },
            "401": {"description": "The API key is missing or wrong."},
        },
    }
    if body is not None:
        content = {"application/json": {"schema": {"$ref": f"{_PREFIX}{body}"}}}
        operation["requestBody"] = {"required": True, "content": content}
    if with_id:
        operation["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    return operation


def _moved(value: Any) -> Any:
    """Return `value` with references into an OpenAPI document's components."""
    if isinstance(value, dict):
        return {
            key: part.replace("#/$defs/", _PREFIX) if key == "$ref" and isinstance(part, str) else _moved(part)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [_moved(part) for part in value]
    return value
