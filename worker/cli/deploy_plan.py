"""What `deploy` would do: a pure comparison of what is wanted with what the account has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = Literal["networkvolumes", "templates", "endpoints"]
FLASHBOOT_SUFFIX = " -fb"
"""RunPod marks an endpoint with FlashBoot by this end of its name."""

NEW = "(the new one)"
"""Stands for the id of what an earlier step creates."""

_UNREPORTED = frozenset({"flashboot"})
"""What RunPod takes but never tells, so it can't be compared."""


class PlanRefused(Exception):
    """What is wanted can't be reached from what is there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The bodies of RunPod's REST API as they should be; `volume` None: no volume, or one named by its id."""

    template: Mapping[str, Any]
    endpoint: Mapping[str, Any]
    volume: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What the account has."""

    templates: Sequence[Mapping[str, Any]] = ()
    endpoints: Sequence[Mapping[str, Any]] = ()
    volumes: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One call, or none for ``keep``.

    Attributes:
        body: What is sent: everything for ``create``, what differs for ``update``.
        id: The resource's id, when it exists already.
        before: What the changed fields are now.
    """

    verb: Literal["create", "update", "keep"]
    kind: Kind
    name: str
    body: Mapping[str, Any]
    id: str | None = None
    before: Mapping[str, Any] = field(default_factory=dict)


def plan(wanted: Wanted, found: Found) -> list[Step]:
    """Return the steps in the order they have to be done.

    Where the endpoint needs the id of a volume or template that is created first, `NEW` stands for it.

    Raises:
        PlanRefused: A volume would have to shrink or move.
    """
    steps = []
    endpoint = dict(wanted.endpoint)
    if wanted.volume is not None:
        step = _volume(wanted.volume, found.volumes)
        steps.append(step)
        endpoint["networkVolumeId"] = step.id or NEW
    template = _step("templates", wanted.template, found.templates, fixed=frozenset({"isServerless", "category"}))
    endpoint["templateId"] = template.id or NEW
    steps.append(template)
    steps.append(_step("endpoints", endpoint, found.endpoints, fixed=frozenset({"computeType"})))
    return steps


def _volume(wanted: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> Step:
    there = _named(wanted["name"], found)
    if there is not None and there.get("dataCenterId") != wanted["dataCenterId"]:
        raise PlanRefused(
            f"the volume {wanted['name']!r} lies in {there.get('dataCenterId')}; a volume can't move to "
            f"{wanted['dataCenterId']}: choose that data center or another name"
        )
    if there is not None and int(there.get("size", 0)) > wanted["size"]:
        raise PlanRefused(f"the volume {wanted['name']!r} has {there['size']} GB; a volume can't shrink")
    return _step("networkvolumes", wanted, found, fixed=frozenset({"dataCenterId"}))


def _step(kind: Kind, wanted: Mapping[str, Any], found: Sequence[Mapping[str, Any]], *, fixed: frozenset[str]) -> Step:
    there = _named(wanted["name"], found)
    if there is None:
        return Step("create", kind, wanted["name"], wanted)
    changed = {
        key: value
        for key, value in wanted.items()
        if key not in fixed | _UNREPORTED and key != "name" and not _same(value, there.get(key))
    }
    before = {key: there.get(key) for key in changed}
    return Step("update" if changed else "keep", kind, wanted["name"], changed, str(there["id"]), before)


def _named(name: str, found: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return next((item for item in found if str(item.get("name", "")).removesuffix(FLASHBOOT_SUFFIX) == name), None)


def _same(wanted: Any, there: Any) -> bool:
    if isinstance(wanted, dict):
        return wanted == (there or {})
    if isinstance(wanted, list) and isinstance(there, list):
        return sorted(map(str, wanted)) == sorted(map(str, there))
    return bool(wanted == there)
