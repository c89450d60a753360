"""Differences between a request and its answer. Pure: A1111 says 200 to many things that it did not do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.contract.rules.sizes import Size
from worker.images import infotext
from worker.images.degenerate import is_noise, is_one_colour
from worker.images.formats.picture import BrokenPicture
from worker.webui.names.catalog import Checkpoint
from worker.webui.result.parameter_differences import (
    info_differences,
    notes_differences,
    reads_prompts_as_sent,
    text_differences,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.images.formats.picture import Picture
    from worker.webui.names.catalog import Catalog
    from worker.webui.request.body import Expectation
    from worker.webui.request.parameters import Parameters
    from worker.webui.result.response import WebUIResponse

_UNWRITTEN = str.maketrans("", "", ":,")
"""Signs that A1111 leaves out of a LoRA's name in an infotext (`extra_networks_lora.py` of v1.10.1)."""
_SEED = re.compile(r"(?:^|, )Seed: (-?\d+)")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that is not as asked."""

    what: str
    asked: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.what} is {self.got!r}, asked for {self.asked!r}"


def answer_mismatches(expect: Expectation, answer: WebUIResponse, catalog: Catalog) -> list[Mismatch]:
    """Compare what was asked with what the WebUI says it did."""
    if expect.undiffused:
        return [] if answer.images else [Mismatch("number of pictures", "one or more", 0)]
    info, same_model = answer.info, _same_model(expect.checkpoint)
    found = [
        *_differ("model", expect.checkpoint.name, info.get("sd_model_name"), same=same_model),
        *_differ("clip skip", expect.clip_skip, _integer(info.get("clip_skip"))),
        *_vae(expect, info.get("sd_vae_name")),
    ]
    if expect.sampler is not None:
        found += _differ("sampler", expect.sampler, info.get("sampler_name"))
    if expect.schedule is not None:
        said = answer.schedule() or "Automatic"
        found += _differ("scheduler", expect.schedule, catalog.samplers.effective(str(info.get("sampler_name")), said))
    seeds = answer.seeds
    if seeds:
        found += _differ("seeds", list(expect.seeds), seeds)
    lost = [tag for tag in expect.tags if not all(tag in prompt for prompt in answer.prompts)]
    if lost:
        found.append(Mismatch("LoRA tags in the prompt", lost, []))
    found += _unloaded(expect, answer, catalog)
    pictures = len(answer.images) - answer.first
    if pictures < expect.count + expect.steps_back:
        found.append(Mismatch("number of pictures", expect.count + expect.steps_back, pictures))
    elif pictures < expect.count + expect.maps:
        found.append(Mismatch("number of ControlNet units that ran", expect.maps, pictures - expect.count))
    for name, value in expect.extras.items():
        same = _same_model(value) if isinstance(value, Checkpoint) else None
        asked = value.name if isinstance(value, Checkpoint) else value
        found += _differ(name, asked, answer.parameter(name), same=same)
    if expect.parameters is not None:
        found += _parameter_mismatches(expect, expect.parameters, answer, catalog, same_model)
    return found


def _unloaded(expect: Expectation, answer: WebUIResponse, catalog: Catalog) -> list[Mismatch]:
    """Return the LoRAs that the infotext would name, had they been loaded, and does not."""
    if not expect.names_loras:
        return []
    told = str(answer.parameter("Lora hashes") or "").strip('"')
    loaded = dict(each.split(": ", 1) for each in told.split(", ") if ": " in each)
    asked, got = {}, {}
    for name in dict.fromkeys(lora.name for lora in expect.loras):
        row = catalog.lora(name)
        if row is None or not (row.told_hash or catalog.has_hashes):
            continue
        said = loaded.get(name.translate(_UNWRITTEN))
        asked[name] = row.told_hash or said or "its hash"  # which one the WebUI computes, only the WebUI knows
        got.update({name: said} if said else {})
    return _differ("LoRAs that were loaded", asked, got)


def _parameter_mismatches(
    expect: Expectation,
    asked: Parameters,
    answer: WebUIResponse,
    catalog: Catalog,
    same_model: Callable[[object], bool],
) -> list[Mismatch]:
    """Compare the request's parameters with those in `info` and in the infotext of each picture."""
    as_sent = reads_prompts_as_sent(catalog.scripts | catalog.img2img_scripts)
    found = [
        Mismatch(*each) for each in info_differences(asked, answer.info, catalog.style_texts, with_prompts=as_sent)
    ]
    texts = _texts(expect, answer)
    for index, (text, seed) in enumerate(zip(texts, expect.seeds, strict=False)):
        prompts = _prompts(answer, index) if as_sent else None
        said = infotext.parse(text).fields
        found += [
            Mismatch(f"{each.what} of picture {index}", each.asked, each.got)
            for each in text_differences(asked, text, said, seed=seed, index=index, prompts=prompts)
        ]
        if "Model" in said:
            found += _differ(f"model of picture {index}", expect.checkpoint.name, said["Model"], same=same_model)
        if expect.sampler is not None and "Sampler" in said:
            found += _differ(f"sampler of picture {index}", expect.sampler, said["Sampler"])
    return found


def _texts(expect: Expectation, answer: WebUIResponse) -> Sequence[str]:
    """Return the infotexts of the pictures that were asked for, in their order."""
    return answer.infotexts[answer.first + expect.steps_back :][: expect.count]


def _prompts(answer: WebUIResponse, index: int) -> tuple[str, str] | None:
    """Return prompt and negative prompt of picture `index` by `info`, None where it has none."""
    positive, negative = answer.prompts, answer.negative_prompts
    if index >= len(positive) or index >= len(negative):
        return None
    return positive[index], negative[index]


def picture_mismatches(expect: Expectation, pictures: Sequence[Picture], answer: WebUIResponse) -> list[Mismatch]:
    """Compare what was asked with the pictures themselves, their own notes included."""
    found = []
    texts = _texts(expect, answer)
    for index, picture in enumerate(pictures):
        size = Size(picture.width, picture.height)
        if expect.size is not None and size != expect.size:
            asked, got = f"{expect.size.width}x{expect.size.height}", f"{size.width}x{size.height}"
            found.append(Mismatch(f"size of picture {index}", asked, got))
        said = seed_of(picture)
        if said is not None and not expect.undiffused and index < len(expect.seeds) and said != expect.seeds[index]:
            found.append(Mismatch(f"seed of picture {index}", expect.seeds[index], said))
        if not expect.undiffused and not expect.from_picture:
            found += _degenerate(index, picture)
        if expect.undiffused or expect.tiled or not picture.infotext or index >= len(texts):
            continue
        found += [
            Mismatch(f"{each.what} in the notes of picture {index}", each.asked, each.got)
            for each in notes_differences(picture.infotext, texts[index])
        ]
    return found


def _degenerate(index: int, picture: Picture) -> list[Mismatch]:
    """Return a mismatch for a picture that no diffusion from a prompt makes; what can't be decoded is not judged."""
    try:
        look = "one colour" if is_one_colour(picture) else "noise" if is_noise(picture) else None
    except BrokenPicture:
        return []
    return [Mismatch(f"content of picture {index}", "a picture", f"{look} from edge to edge")] if look else []


def seed_of(picture: Picture) -> int | None:
    """Return the seed that a picture's own notes name, None where they name none."""
    said = _SEED.search((picture.infotext or "").rpartition("\n")[2])
    return int(said.group(1)) if said else None


def _differ(what: str, asked: Any, got: Any, *, same: Any = None) -> list[Mismatch]:
    equal = same(got) if same is not None else asked == got
    return [] if equal else [Mismatch(what, asked, got)]


def _same_model(checkpoint: Checkpoint) -> Callable[[object], bool]:
    forms = {checkpoint.name, checkpoint.title, checkpoint.stem}
    return lambda got: isinstance(got, str) and (got in forms or got.split(" [")[0] in forms)


def _vae(expect: Expectation, got: Any) -> list[Mismatch]:
    if expect.vae == "None":
        return _differ("VAE", "None", got, same=lambda name: name is None)
    if expect.vae is not None:
        return _differ("VAE", expect.vae, got)
    own = expect.checkpoint.stem
    return _differ("VAE", "the checkpoint's own", got, same=lambda name: name is None or str(name).startswith(own))


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
