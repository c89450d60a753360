"""Extensions of a job, checked against what the running WebUI has and attached to its request. Pure.

An extension never fails: what it does not know it skips, answers 200 and claims the feature all the same. So every name
is checked before, and what can be counted in the answer is counted after.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from worker.common.suggestions import nearest
from worker.contract.base.model_titles import split_title
from worker.contract.rules.sizes import Size
from worker.contract.types.job import Txt2Img
from worker.contract.types.kinds import Img2Img, Inpaint
from worker.errors import Problem
from worker.webui.names import lora_tags
from worker.webui.names.name_resolver import known, missing_upscaler
from worker.webui.request import extension_args
from worker.webui.request.parameters import asked_for, marked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.contract.types.adetailer import ADetailerUnit
    from worker.contract.types.controlnet import ControlNetUnit
    from worker.contract.types.job import Generation
    from worker.settings import ModelKind
    from worker.webui.names.catalog import Catalog
    from worker.webui.names.weights import Weights
    from worker.webui.request.body import Request
    from worker.webui.request.parameters import Parameters

_FREE_MODULES = frozenset(
    {"reference_only", "reference_adain", "reference_adain+attn", "revision_clipvision", "revision_ignore_prompt"}
)
"""ControlNet's preprocessors that work without a model."""
_IN_THE_IMAGE = 'is not installed in this worker\'s WebUI; build the image with --build-arg EXTENSIONS="… {}"'
_NON_COMMERCIAL = (
    "is not installed in this worker's WebUI (its licence is for non-commercial use; the operator decides)"
)
_PASSTHROUGH = "Passthrough"


@dataclass(frozen=True, slots=True)
class DetectorModel:
    """One model: where the job names it, what it is, and its file as the WebUI lists it."""

    path: str
    kind: ModelKind
    filename: str


@dataclass(slots=True)
class _Attached:
    """Parts of a request, and the traces that they have to leave in its answer."""

    body: dict[str, Any] = field(default_factory=dict)
    alwayson: dict[str, Any] = field(default_factory=dict)
    expect: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def detector_models(job: Generation, catalog: Catalog) -> list[DetectorModel]:
    """Return the models that a job's detectors use; names that the WebUI lacks are refused elsewhere."""
    found: dict[tuple[ModelKind, str], DetectorModel] = {}
    for index, unit in enumerate(job.adetailer or ()):
        at = _places(job, f"adetailer[{index}]")
        checkpoint = catalog.checkpoint_meant(unit.checkpoint.ref) if unit.checkpoint is not None else None
        if checkpoint is not None:
            one = DetectorModel(at("checkpoint"), "checkpoint", checkpoint.filename)
            found.setdefault((one.kind, one.filename), one)
        vae = catalog.vae_meant(unit.vae.ref) if unit.vae is not None else None
        if vae is not None:
            one = DetectorModel(at("vae"), "vae", vae.filename)
            found.setdefault((one.kind, one.filename), one)
    return list(found.values())


def attach(
    request: Request,
    job: Generation,
    catalog: Catalog,
    weights: Weights | None,
    pictures: Mapping[str, str],
    *,
    renamed: Mapping[str, str] | None = None,
) -> tuple[Request, list[Problem]]:
    """Return `request` with the job's extensions, and a problem for each name that the WebUI lacks.

    Args:
        request: As built from the job's plain fields.
        job: The job.
        catalog: What the WebUI lists.
        weights: What is on this machine; None: unknown.
        pictures: Of ControlNet's units; see `units.controlnet`.
        renamed: The WebUI's name by name in a prompt's tag, where they differ.
    """
    done = _attached(job, catalog, weights, pictures, renamed or {})
    body = {**request.body, **done.body}
    if done.alwayson:
        body["alwayson_scripts"] = done.alwayson
    body = marked(body)
    extras = {**request.expect.extras, **done.extras}
    expect = replace(request.expect, extras=extras, parameters=_parameters(body, done), **done.expect)
    return replace(request, body=body, expect=expect), done.problems


def problems_of(job: Generation, catalog: Catalog, weights: Weights | None) -> list[Problem]:
    """Return a problem for each name in the job's extensions that the WebUI lacks, before anything is built."""
    return _attached(job, catalog, weights, {}, {}).problems


def _attached(
    job: Generation,
    catalog: Catalog,
    weights: Weights | None,
    pictures: Mapping[str, str],
    renamed: Mapping[str, str],
) -> _Attached:
    done = _Attached()
    installed = catalog.img2img_scripts if isinstance(job, Img2Img) else catalog.scripts
    _controlnet(done, job, catalog, installed, pictures)
    _adetailer(done, job, catalog, installed, renamed)
    _tiled(done, job, catalog, weights, installed)
    if isinstance(job, Inpaint) and job.soft_inpainting is not None and job.soft_inpainting.enabled is not False:
        if "soft inpainting" in installed:
            done.alwayson |= extension_args.soft_inpainting(job.soft_inpainting)
        else:
            done.problems.append(Problem(job.path("soft_inpainting"), "is not a feature of this worker's WebUI"))
    if isinstance(job, Img2Img):
        _ultimate(done, job, catalog, weights)
    # Dynamic Prompts expands every request's prompts unless it is told not to; here `wildcards` does that.
    done.alwayson |= {name: {"args": [False]} for name in installed if name.startswith("dynamic prompts")}
    return done


def _parameters(body: Mapping[str, Any], done: _Attached) -> Parameters:
    """Return the parameters that the answer has to name; a script that works tile by tile changes some of them."""
    asked = asked_for(body)
    if "script_name" not in body:
        return asked
    changed = {"Denoising strength"} if done.expect.get("steps_back") else set()
    numbers = {name: number for name, number in asked.numbers.items() if name not in changed}
    return replace(asked, numbers=numbers, subseed=None)


def _places(job: Generation, unit: str) -> Callable[[str], str]:
    """Return a function from a field of `unit` to where the client wrote it."""
    return lambda field: job.path(f"{unit}.{field}")


def _controlnet(
    done: _Attached, job: Generation, catalog: Catalog, installed: frozenset[str], pictures: Mapping[str, str]
) -> None:
    on = [(index, unit) for index, unit in enumerate(job.controlnet or ()) if unit.is_on]
    if not on:
        return
    if "controlnet" not in installed:
        done.problems.append(Problem(job.path("controlnet"), f"ControlNet {_IN_THE_IMAGE.format('controlnet')}"))
        return
    if len(on) > catalog.control_units:
        message = f"has {len(on)} units; this worker's WebUI runs {catalog.control_units} and drops the rest"
        done.problems.append(Problem(job.path("controlnet"), message))
    models: dict[int, str] = {}
    spelt: list[ControlNetUnit] = []
    for place, (index, unit) in enumerate(on):
        at = _places(job, f"controlnet[{index}]")
        module, problems = control_module(unit.module, catalog, at("module"))
        done.problems += problems
        spelt.append(unit if module is None else unit.model_copy(update={"module": module}))
        model, problems = _control_model(spelt[-1], catalog, at("model"))
        done.problems += problems
        if model is not None:
            models[place] = model
    done.alwayson |= extension_args.controlnet(spelt, models, pictures)
    twice = isinstance(job, Txt2Img) and bool(job.enable_hr)
    done.expect["maps"] = len(on) * (2 if twice else 1)


def control_module(wanted: str | None, catalog: Catalog, path: str) -> tuple[str | None, list[Problem]]:
    """Return ControlNet's own name of a preprocessor; a problem where it has none."""
    if wanted is None:
        return None, []
    module = catalog.control_module(wanted)
    if module is not None:
        return module, []
    near = nearest(wanted, [*catalog.control_modules, *catalog.control_labels])
    return None, [Problem(path, f"is not a preprocessor of this ControlNet: {wanted!r}", near)]


def _control_model(unit: ControlNetUnit, catalog: Catalog, path: str) -> tuple[str | None, list[Problem]]:
    """Return the model by its listed title; a bare name in any case is enough."""
    if unit.model in {None, "None"}:
        if unit.module in _FREE_MODULES:
            return None, []
        return None, [Problem(path, "is missing: without a model the unit does nothing")]
    return control_model(str(unit.model), catalog, path)


def control_model(wanted: str, catalog: Catalog, path: str) -> tuple[str | None, list[Problem]]:
    """Return a ControlNet model by its listed title; a bare name in any case is enough, a wrong hash is a problem."""
    bare = {title.rpartition(" [")[0] or title: title for title in catalog.control_models}
    if wanted in catalog.control_models:
        return wanted, []
    plain_name, digits = split_title(wanted)
    plain_name = plain_name.casefold().removesuffix(".safetensors").removesuffix(".pth")
    for name, title in bare.items():
        if name.casefold() == plain_name:
            own = split_title(title)[1]
            if digits is None or own is None or digits == own:
                return title, []
            return None, [Problem(path, f"says {digits}, but the file's hash is {own}", title)]
    listed = ", ".join(bare) or "none is installed"
    message = f"is not a ControlNet model on this worker: {wanted!r} (there is: {listed})"
    return None, [Problem(path, message, nearest(plain_name, bare))]


def _adetailer(
    done: _Attached, job: Generation, catalog: Catalog, installed: frozenset[str], renamed: Mapping[str, str]
) -> None:
    on = [(index, unit) for index, unit in enumerate(job.adetailer or ()) if unit.is_on]
    if not on:
        return
    if "adetailer" not in installed:
        done.problems.append(Problem(job.path("adetailer"), f"ADetailer {_IN_THE_IMAGE.format('adetailer')}"))
        return
    checkpoints: dict[int, str] = {}
    vaes: dict[int, str] = {}
    settled: list[ADetailerUnit] = []
    for place, (index, unit) in enumerate(on):
        at = _places(job, f"adetailer[{index}]")
        model, problems = detector(str(unit.model), catalog, at("model"))
        done.problems += problems
        sampling, problems = catalog.samplers.resolve(
            unit.sampler, unit.scheduler, sampler_path=at("sampler"), scheduler_path=at("scheduler")
        )
        done.problems += problems
        named = {"model": model or unit.model, "sampler": sampling.sampler, "scheduler": sampling.scheduler}
        named |= _controlnet_inside(done, unit, catalog, installed, at)
        named["prompt"] = lora_tags.renamed(unit.prompt or "", renamed) or None
        changes = {name: value for name, value in named.items() if value is not None}
        settled.append(unit.model_copy(update=changes))
        if unit.checkpoint is not None:
            done.problems += _listed_checkpoint(unit, catalog, at("checkpoint"), checkpoints, place)
        if unit.vae is not None:
            vae = catalog.vae_meant(unit.vae.ref)
            if vae is None:
                near = nearest(unit.vae.ref, [each.name for each in catalog.vaes])
                done.problems.append(Problem(at("vae"), f"is not a VAE on this worker: {unit.vae.ref!r}", near))
            else:
                vaes[place] = vae.name
    done.alwayson |= extension_args.adetailer(settled, checkpoints, vaes)
    if settled:
        done.extras["ADetailer model"] = settled[0].model


def detector(wanted: str, catalog: Catalog, path: str) -> tuple[str | None, list[Problem]]:
    """Return a detector by its listed name; the problem of one that is not there says what is, and where it belongs."""
    found, problems = known(wanted, catalog.detectors, path, "detector")
    if not problems or problems[0].suggestion is not None:
        return found, problems
    part = next((part for part in ("face", "hand", "person") if part in wanted.casefold()), "")
    like = next((name for name in catalog.detectors if part and part in name.casefold()), None)
    message = f"{problems[0].message}; its file belongs in DETECTOR_DIR, which the WebUI reads when it starts"
    return None, [Problem(path, message, like)]


def _controlnet_inside(
    done: _Attached, unit: ADetailerUnit, catalog: Catalog, installed: frozenset[str], at: Callable[[str], str]
) -> dict[str, str | None]:
    """Return the ControlNet that runs inside a pass as ControlNet names it; ADetailer drops the pass for another."""
    if unit.controlnet_model in {None, _PASSTHROUGH}:
        return {}
    if "controlnet" not in installed:
        message = f"ControlNet {_IN_THE_IMAGE.format('controlnet')}"
        done.problems.append(Problem(at("controlnet_model"), message))
        return {}
    model, problems = control_model(str(unit.controlnet_model), catalog, at("controlnet_model"))
    module, more = control_module(unit.controlnet_module, catalog, at("controlnet_module"))
    done.problems += [*problems, *more]
    return {"controlnet_model": model, "controlnet_module": module}


def _listed_checkpoint(
    unit: ADetailerUnit, catalog: Catalog, path: str, checkpoints: dict[int, str], place: int
) -> list[Problem]:
    wanted = unit.checkpoint.ref if unit.checkpoint is not None else ""
    found = catalog.checkpoint_meant(wanted)
    digits = unit.checkpoint.sha256 if unit.checkpoint is not None else None
    if found is not None and found.contradicts(digits):
        return [Problem(path, f"says {digits}, but the file's hash is {found.short_hash}", found.name)]
    if found is None:
        near = nearest(wanted, [checkpoint.name for checkpoint in catalog.checkpoints])
        return [Problem(path, f"is not a checkpoint on this worker: {wanted!r}", near)]
    checkpoints[place] = found.title
    return []


def _tiled(
    done: _Attached, job: Generation, catalog: Catalog, weights: Weights | None, installed: frozenset[str]
) -> None:
    diffusion, vae = job.tiled_diffusion, job.tiled_vae
    if diffusion is not None and diffusion.enabled is not False:
        path = job.path("tiled_diffusion")
        if "tiled diffusion" not in installed:
            done.problems.append(Problem(path, f"Tiled Diffusion {_NON_COMMERCIAL}"))
        else:
            upscaler = _upscaler(done, diffusion.upscaler, catalog, weights, job.path("tiled_diffusion.upscaler"))
            done.alwayson |= extension_args.tiled_diffusion(diffusion, upscaler=upscaler)
            if isinstance(job, Img2Img):
                done.expect["size"] = None
            elif diffusion.width is not None or diffusion.height is not None:
                done.expect["size"] = Size(diffusion.width or 1024, diffusion.height or 1024)
    if vae is not None and vae.enabled is not False:
        if "tiled vae" not in installed:
            done.problems.append(Problem(job.path("tiled_vae"), f"Tiled VAE {_NON_COMMERCIAL}"))
        else:
            done.alwayson |= extension_args.tiled_vae(vae)


def _ultimate(done: _Attached, job: Img2Img, catalog: Catalog, weights: Weights | None) -> None:
    unit = job.ultimate_upscale
    if unit is None:
        return
    path = job.path("ultimate_upscale")
    if "ultimate sd upscale" not in catalog.img2img_scripts:
        done.problems.append(Problem(path, "Ultimate SD upscale is not installed in this worker's WebUI"))
        return
    if (job.batch_size or 1) * (job.n_iter or 1) > 1:
        done.problems.append(Problem(path, "makes one picture at a time; leave batch_size and n_iter out"))
    name = _upscaler(done, unit.upscaler or "Lanczos", catalog, weights, job.path("ultimate_upscale.upscaler"))
    names = [upscaler.name for upscaler in catalog.upscalers]
    if name is None:
        return
    done.body |= extension_args.ultimate_upscale(unit, upscaler=names.index(name))
    done.expect["size"] = Size(unit.width, unit.height) if unit.width is not None and unit.height is not None else None
    if unit.seam_fix not in {None, "none"}:
        done.expect["steps_back"] = 1
    elif unit.redraw == "none":
        done.expect |= {"undiffused": True, "loras": ()}  # nothing is diffused: no model is named
    done.expect |= {"maps": 0, "tiled": True}  # it returns no maps


def _upscaler(done: _Attached, wanted: str | None, catalog: Catalog, weights: Weights | None, path: str) -> str | None:
    if wanted is None:
        return None
    found, problems = known(wanted, [upscaler.name for upscaler in catalog.upscalers], path, "upscaler")
    done.problems += problems
    if found is not None:
        done.problems += missing_upscaler(found, catalog, weights, path)
    return found
