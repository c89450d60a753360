"""A1111's API as parts of the server's application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends

from worker.serving.http_api.application import Api
from worker.serving.sdapi.listing_routes import gradio_router, listing_router
from worker.serving.sdapi.option_routes import options_router
from worker.serving.sdapi.picture_routes import generation_router, own_job_router
from worker.serving.sdapi.sdapi_errors import error_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.serving.http_api.auth import ApiKey
    from worker.serving.sdapi.sessions import WebUIApi

_PREFIXES = ("/sdapi/", "/controlnet/", "/adetailer/")


def webui_apis(api: WebUIApi, key: ApiKey, *, queue_size: Callable[[], int]) -> list[Api]:
    """Return A1111's API and the paths of Gradio that its clients ask for.

    Args:
        api: What the routes stand on.
        key: Checks the key of every request that reaches the worker.
        queue_size: Returns the number of jobs that wait.
    """
    guarded = APIRouter(dependencies=[Depends(key)])
    for router in (generation_router(api), own_job_router(api), options_router(api), listing_router(api.gateway)):
        guarded.include_router(router)
    guarded_api = Api(guarded, error_body=error_body, error_prefixes=_PREFIXES)
    return [guarded_api, Api(gradio_router(queue_size))]
