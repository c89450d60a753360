"""Questions about the worker: what is there, what a job would do. Nothing is generated."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from worker.errors import InvalidInput, WebUIFailed, WebUIRejected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.types.kinds import Listing, Prefetch, Refresh, WebUIGet
    from worker.contract.types.model_ref import ModelRef
    from worker.models.store import ModelStore
    from worker.models.volume.model import LocalModel
    from worker.settings import ModelKind
    from worker.webui.backend import Backend

PATHS: dict[str, str] = {
    "samplers": "/sdapi/v1/samplers",
    "schedulers": "/sdapi/v1/schedulers",
    "upscalers": "/sdapi/v1/upscalers",
    "checkpoints": "/sdapi/v1/sd-models",
    "loras": "/sdapi/v1/loras",
    "vae": "/sdapi/v1/sd-vae",
    "embeddings": "/sdapi/v1/embeddings",
    "styles": "/sdapi/v1/prompt-styles",
    "scripts": "/sdapi/v1/script-info",
    "extensions": "/sdapi/v1/extensions",
    "memory": "/sdapi/v1/memory",
}
CONTROLNET = {"models": "/controlnet/model_list", "modules": "/controlnet/module_list"}
_PLACES = frozenset({"filename", "path", "model_path", "model_url", "config", "remote"})
"""Keys whose values are paths of this machine or addresses: of no use to a client."""
REFRESHED: dict[str, ModelKind] = {
    "checkpoints": "checkpoint",
    "loras": "lora",
    "vae": "vae",
    "embeddings": "embedding",
}
"""What the WebUI can be told to look for, and of which kind that is."""


def health(told: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
    """Return the worker's state, and what the WebUI has. What was wrong last may quote others' jobs: it is left out."""
    return {
        "status": told["state"],
        "restarts": told["restarts"],
        "restarts_left": told["restarts_left"],
        "checkpoint": backend.loaded,
        "checkpoints": len(backend.catalog.checkpoints),
        "loras": len(backend.catalog.loras),
    }


def listing(job: Listing, backend: Backend) -> Any:
    """Return what `job` asks for, without paths of this machine. Blocking.

    Raises:
        WebUIFailed, WebUIUnreachable: the WebUI does not answer.
        InvalidInput: ControlNet is not installed.
    """
    if job.type == "controlnet":
        return {name: _of_extension(backend, path, "controlnet") for name, path in CONTROLNET.items()}
    return without_places(backend.client.get(PATHS[job.type]))


def raw(job: WebUIGet, backend: Backend) -> Any:
    """Return one of the WebUI's own listings as it is. Blocking."""
    if job.endpoint.startswith("/controlnet/"):
        return _of_extension(backend, job.endpoint, "api.endpoint")
    return backend.client.get(job.endpoint)


def _of_extension(backend: Backend, path: str, field: str) -> Any:
    try:
        return backend.client.get(path)
    except (WebUIRejected, WebUIFailed) as error:
        if error.details.get("status") == 404:  # noqa: PLR2004 - HTTP's own
            raise InvalidInput.at(field, "ControlNet is not installed in this worker's WebUI") from None
        raise


def without_places(value: Any) -> Any:
    """Return `value` without paths and addresses."""
    if isinstance(value, dict):
        return {key: without_places(part) for key, part in value.items() if key not in _PLACES}
    if isinstance(value, list):
        return [without_places(part) for part in value]
    return value


def reachable(job: Refresh, store: ModelStore) -> None:
    """Make sure that there are folders to look into: the WebUI would forget everything. Raises VolumeUnavailable."""
    for what in job.what or REFRESHED:
        store.availability.require(REFRESHED[what])


async def refresh(job: Refresh, backend: Backend) -> dict[str, Any]:
    """Have the WebUI look for new files, and return the names that it lists now. Waits for a running job."""
    wanted = tuple(dict.fromkeys(job.what)) if job.what else tuple(REFRESHED)
    catalog = await backend.relearn(refresh=wanted)
    names: dict[str, Sequence[str]] = {
        "checkpoints": [checkpoint.name for checkpoint in catalog.checkpoints],
        "loras": [lora.name for lora in catalog.loras],
        "vae": [vae.name for vae in catalog.vaes],
        "embeddings": sorted(catalog.embeddings),
    }
    return {name: list(names[name]) for name in wanted}


def wanted_of(job: Prefetch) -> list[tuple[str, ModelRef, ModelKind]]:
    """Return the models that `job` names: path in the job, reference, kind."""
    found: list[tuple[str, ModelRef, ModelKind]] = []
    if job.checkpoint is not None:
        found.append((job.path("checkpoint"), job.checkpoint, "checkpoint"))
    if job.vae is not None:
        found.append((job.path("vae"), job.vae, "vae"))
    found += [(job.path(f"loras[{index}]"), ref, "lora") for index, ref in enumerate(job.loras or ())]
    found += [(job.path(f"embeddings[{index}]"), ref, "embedding") for index, ref in enumerate(job.embeddings or ())]
    if not found:
        raise InvalidInput.at("", "names no model: send checkpoint, vae, loras or embeddings")
    return found


def told(models: Sequence[LocalModel]) -> dict[str, Any]:
    """Return what is there now, as the answer of a prefetch."""
    return {
        "models": [
            {
                "kind": model.kind,
                "name": model.name,
                "file": PurePath(model.path).name,
                "base_model": model.base_model,
                "sha256": model.sha256,
                "fetched": model.fetched,
            }
            for model in models
        ]
    }


def cost(bodies: Sequence[Mapping[str, Any]], pixels: Sequence[int]) -> dict[str, Any]:
    """Return what requests cost: pictures, sampling steps, and steps times megapixels."""
    pictures = [int(body.get("batch_size", 1)) * int(body.get("n_iter", 1)) for body in bodies]
    steps = [count * int(body.get("steps", 50)) for count, body in zip(pictures, bodies, strict=True)]
    work = sum(number * size for number, size in zip(steps, pixels, strict=True)) / 1_000_000
    return {"pictures": sum(pictures), "steps": sum(steps), "megapixel_steps": round(work, 3)}
