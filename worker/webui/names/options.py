"""Overridden options that name something of the WebUI: checked against what it has, in its own spelling. Pure.

A1111 v1.10.1 skips an unknown hypernetwork (`extra_networks_hypernet.py`) and face restorer (`face_restoration.py`) in
silence, replaces an unknown upscaler by a plain resize (`images.py`), and downloads the small VAE in the middle of a
job (`sd_vae_taesd.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.errors import Problem
from worker.webui.names.name_resolver import known, missing_upscaler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.contract.types.job import Generation
    from worker.webui.names.catalog import Catalog
    from worker.webui.names.weights import Weights

_NONE = "None"
_SMALL = "TAESD"
_PARTS = {"sd_vae_decode_method": "decoder", "sd_vae_encode_method": "encoder"}


def settled(job: Generation, catalog: Catalog, weights: Weights | None) -> tuple[Mapping[str, Any], list[Problem]]:
    """Return the options that the WebUI would not know as the job spells them, and a problem for each it lacks.

    Args:
        job: The job.
        catalog: What the WebUI lists.
        weights: What is on this machine; None: unknown.
    """
    given = job.override_settings or {}
    names = {
        "face_restoration_model": ("face restorer", catalog.face_restorers),
        "sd_hypernetwork": ("hypernetwork", (_NONE, *catalog.hypernetworks)),
        "upscaler_for_img2img": ("upscaler", tuple(upscaler.name for upscaler in catalog.upscalers)),
    }
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for option, (what, listed) in names.items():
        if option not in given:
            continue
        path = f"{job.path('override_settings')}.{option}"
        name, more = known(str(given[option]), listed, path, what)
        problems += more
        if name is not None:
            found[option] = name
            if option == "upscaler_for_img2img":
                problems += missing_upscaler(name, catalog, weights, path)
    for option, part in _PARTS.items():
        if given.get(option) == _SMALL and weights is not None and not weights.has_small_vae(part):
            path = f"{job.path('override_settings')}.{option}"
            problems.append(Problem(path, f"the weights of {_SMALL} are not installed (models/VAE-taesd)", "Full"))
    return found, problems
