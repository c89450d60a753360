from __future__ import annotations

from typing import Any

import pytest

from worker.cli.deploy_plan import NEW, Found, PlanRefused, Wanted, plan

TEMPLATE = {"name": "w", "imageName": "me/w:1", "isServerless": True, "env": {"DELIVERY": "auto"}}
ENDPOINT = {"name": "w", "workersMax": 3, "gpuTypeIds": ["NVIDIA L4", "NVIDIA A40"], "flashboot": True}
VOLUME = {"name": "w", "size": 50, "dataCenterId": "EU-RO-1"}


def wanted(**changes: Any) -> Wanted:
    return Wanted(**{"template": TEMPLATE, "endpoint": ENDPOINT, "volume": None, **changes})


def found(**changes: Any) -> Found:
    there = {
        "templates": [{**TEMPLATE, "id": "t1"}],
        "endpoints": [{**ENDPOINT, "name": "w -fb", "id": "e1", "templateId": "t1", "networkVolumeId": None}],
    }
    del there["endpoints"][0]["flashboot"]
    return Found(**{**there, **changes})


def test_an_empty_account_gets_everything_in_the_order_it_is_needed() -> None:
    steps = plan(wanted(volume=VOLUME), Found())
    assert [(step.verb, step.kind) for step in steps] == [
        ("create", "networkvolumes"),
        ("create", "templates"),
        ("create", "endpoints"),
    ]
    assert steps[2].body["templateId"] == NEW
    assert steps[2].body["networkVolumeId"] == NEW


def test_what_is_as_it_should_be_is_kept() -> None:
    assert [step.verb for step in plan(wanted(), found())] == ["keep", "keep"]


def test_the_order_in_which_gpus_are_reported_is_no_change() -> None:
    endpoint = {**found().endpoints[0], "gpuTypeIds": ["NVIDIA A40", "NVIDIA L4"]}
    assert plan(wanted(), found(endpoints=[endpoint]))[1].verb == "keep"


def test_only_what_differs_is_sent() -> None:
    template, endpoint = plan(wanted(template={**TEMPLATE, "imageName": "me/w:2"}), found())
    assert (template.verb, template.id, template.body) == ("update", "t1", {"imageName": "me/w:2"})
    assert template.before == {"imageName": "me/w:1"}
    assert endpoint.verb == "keep"


def test_a_new_volume_is_attached_to_an_endpoint_that_is_there() -> None:
    volume, _, endpoint = plan(wanted(volume=VOLUME), found())
    assert volume.verb == "create"
    assert endpoint.body == {"networkVolumeId": NEW}


def test_a_volume_grows() -> None:
    there = {**VOLUME, "size": 20, "id": "v1"}
    assert plan(wanted(volume=VOLUME), found(volumes=[there]))[0].body == {"size": 50}


@pytest.mark.parametrize(
    ("there", "why"), [({"size": 80}, "can't shrink"), ({"size": 50, "dataCenterId": "US-KS-2"}, "can't move")]
)
def test_a_volume_neither_shrinks_nor_moves(there: dict[str, Any], why: str) -> None:
    with pytest.raises(PlanRefused, match=why):
        plan(wanted(volume=VOLUME), found(volumes=[{**VOLUME, "id": "v1", **there}]))


def test_resources_of_other_names_are_left_alone() -> None:
    others = Found(
        templates=[{**TEMPLATE, "name": "other", "id": "t9"}], endpoints=[{**ENDPOINT, "name": "other", "id": "e9"}]
    )
    assert [step.verb for step in plan(wanted(), others)] == ["create", "create"]
