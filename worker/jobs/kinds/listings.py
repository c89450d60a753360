"""Jobs that ask what is there: the WebUI's listings, the worker's health, a refresh of the listings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.errors import InvalidInput, WebUIFailed, WebUIRejected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.types.kinds import Listing, Refresh, WebUIGet
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.models.store import ModelStore
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
"""The listings that the WebUI can be told to refresh, and the kind of each."""


async def listing(job: Listing, _context: JobContext, services: JobServices) -> dict[str, Any]:
    """Return one of the WebUI's listings without paths of this machine, the worker's health, or the endpoint's presets.

    Raises:
        WebUIFailed, WebUIUnreachable: the WebUI does not answer.
        InvalidInput: ControlNet is not installed.
    """
    if job.type == "health":
        return {"type": job.type, "items": health(services.supervisor.health(), services.backend)}
    if job.type == "presets":
        presets = services.operator.presets.values()
        return {
            "type": job.type,
            "items": [preset.to_json() for preset in presets if job.role in (None, preset.role)],
        }
    return {"type": job.type, "items": await services.threads.run(_listing, job, services.backend)}


async def raw(job: WebUIGet, _context: JobContext, services: JobServices) -> dict[str, Any]:
    """Return one of the WebUI's own listings as it is. Raises as `listing` does."""
    return {"raw": await services.threads.run(_raw, job, services.backend)}


async def refresh(job: Refresh, _context: JobContext, services: JobServices) -> dict[str, Any]:
    """Have the WebUI look for new files, and return the names that it lists now. Waits for a running job.

    Raises:
        VolumeUnavailable: the folder is gone, and the WebUI would forget everything.
    """
    await services.threads.run(_require_folders, job, services.store)
    wanted = tuple(dict.fromkeys(job.what)) if job.what else tuple(REFRESHED)
    catalog = await services.backend.relearn(refresh=wanted)
    names: dict[str, Sequence[str]] = {
        "checkpoints": [checkpoint.name for checkpoint in catalog.checkpoints],
        "loras": [lora.name for lora in catalog.loras],
        "vae": [vae.name for vae in catalog.vaes],
        "embeddings": sorted(catalog.embeddings),
    }
    return {"type": job.type, "items": {name: list(names[name]) for name in wanted}}


def health(told: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
    """Return the worker's state and the WebUI's models. The last error may quote others' jobs: it is left out."""
    return {
        "status": told["state"],
        "restarts": told["restarts"],
        "restarts_left": told["restarts_left"],
        "checkpoint": backend.started_model_name,
        "checkpoints": len(backend.catalog.checkpoints),
        "loras": len(backend.catalog.loras),
    }


def _listing(job: Listing, backend: Backend) -> Any:
    if job.type == "controlnet":
        return {name: _of_extension(backend, path, "controlnet") for name, path in CONTROLNET.items()}
    rows = backend.client.get(PATHS[job.type])
    return without_places(_with_installed(rows, backend) if job.type == "upscalers" else rows)


def _with_installed(rows: Any, backend: Backend) -> Any:
    """Return the WebUI's upscalers, each with whether its weights are here; None: that can't be seen from here."""
    weights = backend.plan.weights
    known = {upscaler.name: upscaler for upscaler in backend.catalog.upscalers}

    def installed(name: object) -> bool | None:
        row = known.get(str(name))
        return None if weights is None or row is None else weights.of_upscaler(row) is None

    if not isinstance(rows, list):
        return rows
    return [{**row, "installed": installed(row.get("name"))} for row in rows if isinstance(row, dict)]


def _raw(job: WebUIGet, backend: Backend) -> Any:
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


def _require_folders(job: Refresh, store: ModelStore) -> None:
    for what in job.what or REFRESHED:
        store.availability.require(REFRESHED[what])
