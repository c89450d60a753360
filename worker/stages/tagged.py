"""LoRAs that prompts name by tag: found and fetched like those of a job's list, under the tag that the WebUI knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from worker.contract.types.model_ref import ModelRef
from worker.errors import InvalidInput, ModelNotFound
from worker.stages.lookup import Wanted
from worker.webui.names import lora_tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.models.store import ModelStore
    from worker.models.volume.model import LocalModel
    from worker.webui.names.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Tagged:
    """What the tags of a job's prompts mean.

    Attributes:
        listed: The WebUI's name by tag, where the tag is an alias or another spelling of a LoRA that it lists.
        wanted: The model by tag, where the volume has it or the catalog says where to fetch it.
    """

    listed: Mapping[str, str]
    wanted: Mapping[str, Wanted]

    def expected(self) -> dict[str, str]:
        """Return a name by tag before anything is fetched: enough to tell mistakes."""
        return {**self.listed, **{tag: tag for tag in self.wanted}}

    def names(self, local: Mapping[str, LocalModel]) -> dict[str, str]:
        """Return the name that the WebUI knows by tag, once every model is there."""
        return {**self.listed, **{tag: local[want.path].name for tag, want in self.wanted.items()}}


def read(texts: Sequence[tuple[str, str]], store: ModelStore, catalog: Catalog) -> Tagged:
    """Return what the tags of `texts`, ``(path in the job, prompt)``, mean; those that nobody knows are left out."""
    listed: dict[str, str] = {}
    wanted: dict[str, Wanted] = {}
    for path, text in texts:
        for tag in lora_tags.parse(text):
            if tag.kind not in lora_tags.LORA_KINDS or tag.name in wanted or tag.name in listed:
                continue
            want = _wanted(f"{path} {tag.text}", tag.name, store, catalog)
            if want is not None:
                wanted[tag.name] = want
                continue
            name = _listed(tag.name, catalog)
            if name is not None:
                listed[tag.name] = name
    return Tagged(listed, wanted)


def _wanted(path: str, name: str, store: ModelStore, catalog: Catalog) -> Wanted | None:
    """Return the model of one tag, None when neither the volume nor the catalog knows it."""
    try:
        ref = ModelRef(name=name)
        choice = store.resolve(ref, "lora", path=path)
        there = store.find(ref, "lora", path=path)
    except (ValidationError, InvalidInput, ModelNotFound):
        return None  # no name of a model: the tag's own check says so
    if catalog.lora(name) is not None:  # the WebUI goes by the tag alone: another file of a kindred name is not meant
        return Wanted(path, ref, "lora") if there is not None and there.name == name else None
    return Wanted(path, ref, "lora") if there is not None or choice.locators else None


def _listed(name: str, catalog: Catalog) -> str | None:
    """Return the tag of the one LoRA that the WebUI lists under another spelling, or with `name` for its alias."""
    if catalog.lora(name) is not None:
        return None
    aliased = [lora.name for lora in catalog.loras if lora.alias == name]
    if len(aliased) == 1:
        return aliased[0]
    meant = catalog.lora_meant(name)
    return meant.name if meant is not None else None
