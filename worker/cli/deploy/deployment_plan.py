"""The plan of ``deploy``: a comparison of the wanted resources with those of the account. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.cli.deploy.rest import Kind

FLASHBOOT_SUFFIX = " -fb"
"""RunPod's API v1 marked an endpoint with FlashBoot by this end of its name."""

NEW = "(the new one)"
"""Stands for the id of what an earlier step creates."""

_UNORDERED = frozenset({"pools", "excludedTypes", "allowedCudaVersions", "dataCenterIds", "networkVolumes", "ports"})


class PlanRefused(Exception):
    """The wanted resources can't be reached from those that are there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The bodies of RunPod's REST API as they should be; `volume` None: no volume, or one named by its id."""

    endpoint: Mapping[str, Any]
    volume: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ExistingResources:
    """The account's resources."""

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


def plan(wanted: Wanted, found: ExistingResources) -> list[Step]:
    """Return the steps in the order they have to be done.

    Where the endpoint needs the id of a volume that is created first, `NEW` stands for it.

    Raises:
        PlanRefused: A volume would have to shrink, move or change its type, an endpoint its type, or a name is not
            unique.
    """
    steps = []
    endpoint = dict(wanted.endpoint)
    if wanted.volume is not None:
        step = _volume(wanted.volume, found.volumes)
        steps.append(step)
        endpoint["networkVolumes"] = [step.id or NEW]
    steps.append(_endpoint(endpoint, found.endpoints))
    return steps


def named(name: str, found: Sequence[Mapping[str, Any]], what: str) -> Mapping[str, Any] | None:
    """Return the resource called `name`, None where there is none.

    Raises:
        PlanRefused: Several are called so.
    """
    there = [item for item in found if str(item.get("name", "")).removesuffix(FLASHBOOT_SUFFIX) == name]
    if len(there) > 1:
        ids = ", ".join(str(item.get("id")) for item in there)
        raise PlanRefused(f"{len(there)} {what}s are called {name!r} ({ids}): choose another --name, or delete one")
    return there[0] if there else None


def _volume(wanted: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> Step:
    there = named(wanted["name"], found, "volume")
    if there is None:
        return Step("create", "network-volumes", wanted["name"], wanted)
    if there.get("dataCenter") != wanted["dataCenter"]:
        raise PlanRefused(
            f"the volume {wanted['name']!r} lies in {there.get('dataCenter')}; a volume can't move to "
            f"{wanted['dataCenter']}: choose that data center or another name"
        )
    if "type" in wanted and there.get("type", wanted["type"]) != wanted["type"]:
        raise PlanRefused(f"the volume {wanted['name']!r} is of type {there['type']}; a volume's type can't change")
    size = int(there.get("size", 0))
    if size > wanted["size"]:
        raise PlanRefused(f"the volume {wanted['name']!r} has {size} GB; a volume can't shrink")
    changed = {"size": wanted["size"]} if size != wanted["size"] else {}
    return Step(
        "update" if changed else "keep",
        "network-volumes",
        wanted["name"],
        changed,
        str(there["id"]),
        {name: there.get(name) for name in changed},
    )


def _endpoint(wanted: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> Step:
    there = named(wanted["name"], found, "endpoint")
    if there is None:
        return Step("create", "serverless", wanted["name"], wanted)
    if there.get("type", wanted["type"]) != wanted["type"]:
        raise PlanRefused(
            f"the endpoint {wanted['name']!r} is of type {there['type']}, which can't change to {wanted['type']}: "
            "choose another --name, or delete it first (--delete)"
        )
    changed = {
        key: value
        for key, value in wanted.items()
        if key not in {"name", "type"} and not _same(key, value, _comparable(key, there.get(key)))
    }
    before = {key: there.get(key) for key in changed}
    gpu = there.get("gpu") or {}
    if changed and "excludedTypes" in wanted["gpu"] and "excludedTypes" not in gpu:
        changed.setdefault("gpu", wanted["gpu"])  # RunPod does not tell what it excludes, and its pools grow
    if "gpu" in changed:
        changed["gpu"] = _gpu_change(changed["gpu"], gpu)
    verb: Literal["update", "keep"] = "update" if changed else "keep"
    return Step(verb, "serverless", wanted["name"], changed, str(there["id"]), before)


def _gpu_change(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that leaves `wanted`: pools always with their exclusions, which RunPod clears otherwise."""
    change = {key: value for key, value in wanted.items() if key != "count"}
    if there.get("allowedCudaVersions"):
        change["allowedCudaVersions"] = []  # beside a least version RunPod takes none
    return change


def _comparable(key: str, there: Any) -> Any:
    """Return a field as today's API tells it; before August 2026 scaling was flat."""
    if key == "scaling" and isinstance(there, dict) and "value" in there:
        name = {"QUEUE_DELAY": "queueDelay", "REQUEST_COUNT": "requestCount"}.get(str(there.get("type")), "value")
        return {"type": there.get("type"), name: there["value"]}
    return there


def _same(key: str, wanted: Any, there: Any) -> bool:
    """Return whether a field is as wanted; parts of an object that RunPod does not tell count as they should be."""
    if key == "env":
        return bool(wanted == (there or {}))
    if isinstance(wanted, dict):
        told = there if isinstance(there, dict) else {}
        if key == "gpu" and (
            told.get("allowedCudaVersions") or (told.get("excludedTypes") and not wanted.get("excludedTypes"))
        ):
            return False
        return bool(told) and all(_same(name, value, told[name]) for name, value in wanted.items() if name in told)
    if key in _UNORDERED and isinstance(wanted, list) and isinstance(there, list):
        return sorted(map(str, wanted)) == sorted(map(str, there))
    return bool(wanted == there)
