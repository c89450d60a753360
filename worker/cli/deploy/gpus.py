"""From GPU types to what RunPod takes: pools of types, and the types of these pools that are left out. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Cuda = Literal["cu121", "cu128"]
"""The image's variant."""

LEAST_CUDA: dict[Cuda, str] = {"cu121": "12.1", "cu128": "12.8"}
"""The oldest CUDA version of a host's driver that runs the variant."""

MOST_POOLS = 3
"""RunPod's console offers three choices; more were accepted and left workers initializing."""

_BLACKWELL = re.compile(r"\bblackwell\b|\bG?B[23]00\b|\bRTX 50[5-9]0\b|\bRTX PRO \d{4}\b", re.IGNORECASE)

_FAMILIES = {"nvidia", "geforce", "rtx", "tesla", "generation"}


class NoGpus(Exception):
    """The wanted GPUs cannot be had."""


@dataclass(frozen=True, slots=True)
class GpuType:
    """A GPU type of RunPod's catalogue; `pool` None: it cannot be chosen for an endpoint."""

    id: str
    name: str
    pool: str | None

    @property
    def blackwell(self) -> bool:
        """True for a GPU that needs CUDA 12.8: the image's default variant ends with "no kernel image" on it."""
        return _BLACKWELL.search(f"{self.id} {self.name}") is not None


@dataclass(frozen=True, slots=True)
class PoolChoice:
    """Pools to take workers from, and the types in them that are not wanted; `notes` are for the person who asks."""

    pools: tuple[str, ...]
    excluded: tuple[str, ...]
    notes: tuple[str, ...] = ()


def from_catalogue(items: Iterable[Mapping[str, Any]]) -> list[GpuType]:
    """Return the GPU types of RunPod's answer to ``catalog/gpus``."""
    return [
        GpuType(str(item["id"]), str(item.get("name") or item["id"]), item.get("pool") or None)
        for item in items
        if item.get("id")
    ]


def choose(wanted: Sequence[str], catalogue: Sequence[GpuType], *, cuda: Cuda) -> PoolChoice:
    """Return the pools that hold the wanted types, in the order of `wanted`, and the other types to exclude.

    Args:
        wanted: Type ids or names, also as people say them (``4090``), or pool ids, which stand for all their types.
        catalogue: All types there are.
        cuda: The image's variant; ``cu121`` excludes every Blackwell type of the pools.

    Raises:
        NoGpus: A name is unknown, a Blackwell type was asked for the cu121 image, nothing is left, or the types lie in
            more than three pools.
    """
    members: dict[str, list[GpuType]] = {}
    for gpu in catalogue:
        if gpu.pool is not None:
            members.setdefault(gpu.pool, []).append(gpu)
    chosen: dict[str, GpuType] = {}
    notes: list[str] = []
    for name in wanted:
        types, note = _offered(name, members, catalogue, cuda)
        chosen.update({gpu.id: gpu for gpu in types})
        notes += [note] if note else []
    if not chosen:
        raise NoGpus("; ".join(notes) or "no GPU is left of what was asked for")
    pools = tuple(dict.fromkeys(gpu.pool for gpu in chosen.values() if gpu.pool is not None))
    if len(pools) > MOST_POOLS:
        raise NoGpus(f"these GPUs lie in {len(pools)} pools ({', '.join(pools)}); RunPod serves at most {MOST_POOLS}")
    excluded = tuple(sorted(gpu.id for pool in pools for gpu in members[pool] if gpu.id not in chosen))
    return PoolChoice(pools, excluded, tuple(notes))


def _offered(
    name: str, members: Mapping[str, Sequence[GpuType]], catalogue: Sequence[GpuType], cuda: Cuda
) -> tuple[list[GpuType], str]:
    """Return the types that one name stands for and that can be had, and a note where that needs one."""
    if name in members:
        return [gpu for gpu in members[name] if cuda == "cu128" or not gpu.blackwell], ""
    found = _meant(name, catalogue)
    fitting = [gpu for gpu in found if gpu.pool is not None and (cuda == "cu128" or not gpu.blackwell)]
    if not found:
        return [], _unknown(name, catalogue)
    if all(gpu.pool is None for gpu in found):
        return [], f"{name} belongs to no pool, so no endpoint can ask for it"
    if not fitting:
        raise NoGpus(f"{name} is a Blackwell GPU, which needs the image's cu128 variant (--cuda cu128)")
    return fitting, f"{name} means {', '.join(gpu.id for gpu in fitting)}" if len(fitting) > 1 else ""


def _meant(name: str, catalogue: Sequence[GpuType]) -> list[GpuType]:
    """Return the types of this id or name, else those that people call so: ``4090``, ``a100``, ``L40S``."""
    exact = [gpu for gpu in catalogue if name in {gpu.id, gpu.name}]
    if exact:
        return exact[:1]
    words = _words(name)
    matching = [gpu for gpu in catalogue if words and (words <= _words(gpu.id) or words <= _words(gpu.name))]
    alone = [gpu for gpu in matching if words in (_words(gpu.id), _words(gpu.name))]
    return alone or matching


def _words(name: str) -> set[str]:
    """Return what tells a type from others: its name without the maker's and the family's."""
    return set(re.findall(r"[a-z0-9]+", name.lower())) - _FAMILIES


def _unknown(name: str, catalogue: Sequence[GpuType]) -> str:
    known = {one for gpu in catalogue for one in (gpu.id, gpu.pool) if one}
    near = difflib.get_close_matches(name, known, n=1)
    return f"{name} is no GPU type or pool that RunPod offers" + (f"; {near[0]}?" if near else "")


DOCUMENTED: tuple[GpuType, ...] = tuple(
    GpuType(name, name, pool)
    for pool, names in {
        "AMPERE_16": (
            "NVIDIA RTX A4000",
            "NVIDIA RTX A4500",
            "NVIDIA RTX 4000 Ada Generation",
            "NVIDIA RTX 2000 Ada Generation",
        ),
        "AMPERE_24": ("NVIDIA L4", "NVIDIA RTX A5000", "NVIDIA GeForce RTX 3090"),
        "ADA_24": ("NVIDIA GeForce RTX 4090",),
        "ADA_32_PRO": ("NVIDIA GeForce RTX 5090",),
        "AMPERE_48": ("NVIDIA RTX A6000", "NVIDIA A40"),
        "ADA_48_PRO": ("NVIDIA L40", "NVIDIA L40S", "NVIDIA RTX 6000 Ada Generation"),
        "AMPERE_80": ("NVIDIA A100 80GB PCIe", "NVIDIA A100-SXM4-80GB"),
        "ADA_80_PRO": ("NVIDIA H100 PCIe", "NVIDIA H100 80GB HBM3", "NVIDIA H100 NVL"),
        "BLACKWELL_96": ("NVIDIA RTX PRO 6000 Blackwell Server Edition",),
        "HOPPER_141": ("NVIDIA H200",),
        "BLACKWELL_180": ("NVIDIA B200",),
    }.items()
    for name in names
)
"""The pools of RunPod's documentation, for plans without an account; with one, the catalogue is asked."""
