"""A typed job and the WebUI's listings to names that the WebUI will not replace: pure, all mistakes at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.common.suggestions import nearest
from worker.errors import Problem
from worker.webui.names import lora_tags
from worker.webui.names.samplers import NO_SAMPLING, Sampling

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.contract.types.job import Generation, Txt2Img
    from worker.webui.names.catalog import Catalog, Checkpoint
    from worker.webui.names.weights import Weights

DEFAULT_FACE_RESTORER = "CodeFormer"


@dataclass(frozen=True, slots=True)
class ChosenLora:
    """A LoRA that will be applied: its tag's name, its scale, where the client asked for it."""

    name: str
    scale: float
    path: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """Every model and name of one job as the WebUI knows it; None where the client said nothing.

    Attributes:
        vae: The option's value (file name with ending, ``None`` or ``Automatic``).
        words: Trigger words to put into the prompt.
        renamed: The WebUI's name by name in a prompt's tag, where they differ.
        options: Overridden options that name something, as the WebUI spells it.
        styled: LoRAs that the prompts of its styles name.
    """

    checkpoint: Checkpoint
    sampling: Sampling = NO_SAMPLING
    hr_sampling: Sampling = NO_SAMPLING
    vae: str | None = None
    loras: tuple[ChosenLora, ...] = ()
    tagged: tuple[ChosenLora, ...] = ()
    words_before: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    refiner: Checkpoint | None = None
    hr_checkpoint: Checkpoint | None = None
    hr_upscaler: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    styles: tuple[str, ...] | None = None
    styled: tuple[ChosenLora, ...] = ()

    @property
    def applied_loras(self) -> tuple[ChosenLora, ...]:
        """Every LoRA that the WebUI will apply: of tags, of the job's list, and of its styles."""
        return (*self.tagged, *self.loras, *self.styled)


def known(value: str, candidates: Iterable[str], path: str, what: str) -> tuple[str | None, list[Problem]]:
    """Return the candidate that `value` means (exactly, else the only one equal but for case), or a problem."""
    names = list(candidates)
    if value in names:
        return value, []
    folded = [name for name in names if name.casefold() == value.casefold()]
    if len(folded) == 1:
        return folded[0], []
    listed = ", ".join(names[:40]) or "none is installed"
    more = f" and {len(names) - 40} more" if len(names) > 40 else ""  # noqa: PLR2004 - a line's worth
    return None, [Problem(path, f"unknown {what} {value!r}; known: {listed}{more}", nearest(value, names))]


def samplings(job: Generation, catalog: Catalog) -> tuple[Sampling, Sampling, list[Problem]]:
    """Return the samplers and schedulers of the first and second pass."""
    first, problems = catalog.names.settle(
        job.sampler_name,
        job.scheduler,
        sampler_path=job.path("sampler_name"),
        scheduler_path=job.path("scheduler"),
    )
    second = NO_SAMPLING
    hr_sampler = getattr(job, "hr_sampler_name", None)
    hr_scheduler = getattr(job, "hr_scheduler", None)
    if hr_sampler or hr_scheduler:
        second, more = catalog.names.settle(
            hr_sampler,
            hr_scheduler,
            sampler_path=job.path("hr_sampler_name"),
            scheduler_path=job.path("hr_scheduler"),
        )
        problems += more
    return first, second, problems


def upscaler(job: Txt2Img, catalog: Catalog, weights: Weights | None) -> tuple[str | None, list[Problem]]:
    """Return the hires upscaler by its listed name.

    Args:
        job: The job.
        catalog: What the WebUI lists.
        weights: What is on this machine; None: unknown. An upscaler without its weights would be replaced by a plain
            resize, silently.
    """
    if not job.hr_upscaler:
        return None, []
    path = job.path("hr_upscaler")
    return upscaler_meant(
        job.hr_upscaler, [*catalog.latent_upscalers, *(u.name for u in catalog.upscalers)], catalog, weights, path
    )


def upscaler_meant(
    name: str, names: Sequence[str], catalog: Catalog, weights: Weights | None, path: str
) -> tuple[str | None, list[Problem]]:
    """Return the one of the listed `names` that is meant, or a problem that offers those with weights alone."""
    found, _ = known(name, names, path, "upscaler")
    if found is not None:
        return found, missing_upscaler(found, catalog, weights, path)
    without = {u.name for u in catalog.upscalers if weights is not None and weights.of_upscaler(u) is not None}
    return known(name, [each for each in names if each not in without], path, "upscaler")


def missing_upscaler(name: str, catalog: Catalog, weights: Weights | None, path: str) -> list[Problem]:
    """Return a problem when upscaler `name` is listed but its weights are not on this machine."""
    row = next((u for u in catalog.upscalers if u.name == name), None)
    missing = weights.of_upscaler(row) if row is not None and weights is not None else None
    if missing is None or weights is None:
        return []
    ready = [u.name for u in catalog.upscalers if weights.of_upscaler(u) is None]
    return [Problem(path, f"the weights of {name!r} ({missing}) are not installed; installed: {', '.join(ready)}")]


def face_restorer(job: Generation, catalog: Catalog, weights: Weights | None) -> list[Problem]:
    """Return a problem when faces are to be restored by a model whose weights are not on this machine."""
    if not job.restore_faces:
        return []
    name = str((job.override_settings or {}).get("face_restoration_model") or DEFAULT_FACE_RESTORER)
    found, problems = known(name, catalog.face_restorers, job.path("restore_faces"), "face restorer")
    if problems and "face_restoration_model" in (job.override_settings or {}):
        return []  # told with the option
    missing = weights.of_face_restorer(found) if found is not None and weights is not None else None
    if missing is None:
        return problems
    return [Problem(job.path("restore_faces"), f"the weights of {found} are not installed (models/{missing} is empty)")]


def unproven_faces(job: Generation, weights: Weights | None) -> list[str]:
    """Return a warning where nobody can tell whether faces are restored: the WebUI says so even without weights."""
    if not job.restore_faces or weights is not None:
        return []
    return [f"{job.path('restore_faces')}: whether this WebUI has the weights for it can't be seen from here"]


def styles(job: Generation, catalog: Catalog) -> tuple[tuple[str, ...] | None, list[Problem]]:
    """Return the styles by their listed names."""
    if job.styles is None:
        return None, []
    chosen, problems = [], []
    for index, style in enumerate(job.styles):
        found, more = known(style, catalog.styles, f"{job.path('styles')}[{index}]", "style")
        problems += more
        if found is not None:
            chosen.append(found)
    return tuple(chosen), problems


def style_loras(
    job: Generation, styles: Sequence[str], catalog: Catalog
) -> tuple[tuple[ChosenLora, ...], list[Problem]]:
    """Return the LoRAs that the prompts of styles name, which the WebUI puts in as they are, and what is wrong there.

    Args:
        job: The job.
        styles: By their listed names, in the job's order.
        catalog: What the WebUI lists.
    """
    chosen: list[ChosenLora] = []
    problems: list[Problem] = []
    aliases = {lora.alias: lora.name for lora in catalog.loras if lora.alias}
    for index, style in enumerate(styles):
        text = catalog.style_texts.get(style, ("", ""))[0]
        found, wrong = tagged_loras([(f"{job.path('styles')}[{index}]", text)], catalog, aliases)
        chosen += found
        problems += [Problem(each.path, f"in the style {style!r} {each.message}") for each in wrong]
    return tuple(chosen), problems


def tagged_loras(
    texts: Sequence[tuple[str, str]], catalog: Catalog, names: Mapping[str, str]
) -> tuple[tuple[ChosenLora, ...], list[Problem]]:
    """Return the LoRAs that prompts name by tag.

    Args:
        texts: ``(path in the job, prompt)`` of the positive prompts.
        catalog: What the WebUI lists.
        names: The WebUI's name by name in a tag, for those that it will list, or lists under another name.

    A tag that names none of the listed LoRAs exactly, or whose weight is no number, would silently do nothing.
    """
    chosen: list[ChosenLora] = []
    problems: list[Problem] = []
    listed = [lora.name for lora in catalog.loras]
    for path, text in texts:
        unended = lora_tags.unended(text)
        if unended:
            problems.append(Problem(path, f"the tag {unended} has no end; write {unended}>"))
        for tag in lora_tags.parse(text):
            if tag.kind not in lora_tags.LORA_KINDS:
                problems.append(_foreign_tag(tag, path))
                continue
            if tag.name not in names and catalog.lora(tag.name) is None:
                wanted = tag.name.removesuffix(".safetensors")
                message = (
                    f"the tag {tag.text} names a LoRA that is not there; known: {', '.join(listed[:40]) or 'none'}"
                )
                near = next((name for name in listed if name.casefold() == wanted.casefold()), nearest(wanted, listed))
                problems.append(Problem(path, message, near))
                continue
            unread = lora_tags.unread(tag)
            if unread is not None:
                problems.append(Problem(path, f"the tag {tag.text} {unread.why}", unread.instead))
                continue
            if any(abs(weight or 0.0) > lora_tags.GREATEST_WEIGHT for weight in tag.weights.values()):
                most = lora_tags.GREATEST_WEIGHT
                problems.append(Problem(path, f"the tag {tag.text} has a weight beyond {-most:g} to {most:g}"))
                continue
            chosen.append(ChosenLora(names.get(tag.name, tag.name), tag.scale, path))
    return tuple(chosen), problems


_FOREIGN_TAGS = {
    "hypernet": "asks for a hypernetwork, which are not offered by tag; send override_settings.sd_hypernetwork",
    "segment": "is SwarmUI's; here adetailer redraws what it finds",
    "object": "is SwarmUI's; here adetailer, or inpaint with a mask",
    "region": "is SwarmUI's; the WebUI has no regions",
    "clear": "is SwarmUI's; the WebUI makes no transparency",
    "random": "is SwarmUI's; here wildcards: true reads {a|b}",
    "alternate": "is SwarmUI's; here [a|b]",
    "alt": "is SwarmUI's; here [a|b]",
    "fromto": "is SwarmUI's; here [a:b:0.5]",
    "repeat": "is SwarmUI's; write the words out",
    "wildcard": "is SwarmUI's; here wildcards: true reads __name__",
    "wc": "is SwarmUI's; here wildcards: true reads __name__",
    "preset": "is SwarmUI's; here the field preset, or styles",
    "embed": "is SwarmUI's; an embedding's name alone is enough",
    "embedding": "is SwarmUI's; an embedding's name alone is enough",
    "refiner": "is SwarmUI's; here refiner_checkpoint and refiner_switch_at",
    "base": "is SwarmUI's; here hr_prompt parts the passes",
    "var": "is SwarmUI's",
    "setvar": "is SwarmUI's",
    "trigger": "is SwarmUI's; here loras[].trigger_words: true",
    "video": "is SwarmUI's; the WebUI makes no videos",
    "ppp": "is of the extension sd-webui-prompt-postprocessor, which is not here",
    "model": "is not of the WebUI; send checkpoint",
    "lbw": "is not of the WebUI",
}
"""Kind of tag in other programs → whose it is, and what does the same here."""


def _foreign_tag(tag: lora_tags.Tag, path: str) -> Problem:
    """Return the problem of a tag that the WebUI knows no kind of network for."""
    told = _FOREIGN_TAGS.get(tag.kind.casefold())
    if told is not None:
        return Problem(path, f"the tag {tag.text} {told}")
    near = nearest(tag.kind, sorted(lora_tags.LORA_KINDS), prefix=False)
    return Problem(path, f"the tag {tag.text} is of an unknown kind {tag.kind!r}", near)


def crowded(texts: Sequence[tuple[str, str]]) -> list[Problem]:
    """Return a problem for each prompt with more tags than are looked for."""
    counted = ((path, lora_tags.begun(text)) for path, text in texts)
    return [
        Problem(path, f"has {count} tags like <lora:…>; at most {lora_tags.MOST_TAGS} are read")
        for path, count in counted
        if count > lora_tags.MOST_TAGS
    ]


def twice(tagged: Sequence[ChosenLora], loras: Sequence[ChosenLora]) -> list[Problem]:
    """Return a problem for each LoRA that one pass would get more than once; the WebUI would apply it only once.

    Args:
        tagged: By tag, in the prompt and in that of hires fix, of which each holds for its own pass.
        loras: Of the job's list, which hold for both.
    """
    problems: list[Problem] = []
    if len(tagged) + len(loras) <= 1:
        return problems
    seen: dict[tuple[str, str], str] = {}
    passes = dict.fromkeys(lora.path for lora in tagged) or {"": None}
    for lora, paths in [*((each, [each.path]) for each in tagged), *((each, list(passes)) for each in loras)]:
        first = next((seen[path, lora.name] for path in paths if (path, lora.name) in seen), None)
        if first is not None:
            message = f"LoRA {lora.name!r} is named twice (also at {first}); name it once with one scale"
            problems.append(Problem(lora.path, message))
        for path in paths:
            seen.setdefault((path, lora.name), lora.path)
    return problems


def negative_tags(texts: Sequence[tuple[str, str]]) -> list[str]:
    """Return warnings for tags in negative prompts, where the WebUI takes them for plain words."""
    return [
        f"{path}: the tag {tag.text} has no effect in a negative prompt; the WebUI reads it as words"
        for path, text in texts
        for tag in lora_tags.parse(text)
    ]
