"""The plan of a deployment: the bodies of RunPod's API v2, and what changes of an account."""

from __future__ import annotations

from typing import Any

import pytest

from worker.cli.deploy import gpus
from worker.cli.deploy.deployment_plan import NEW, ExistingResources, PlanRefused, Wanted, plan
from worker.cli.deploy.deployment_presets import PRESETS
from worker.cli.deploy.gpus import DOCUMENTED, GpuType, NoGpus, choose
from worker.cli.deploy.request import Misuse, Options, wanted

ENDPOINT: dict[str, Any] = {
    "name": "w",
    "type": "QUEUE",
    "image": "me/w:1",
    "env": {"DELIVERY": "auto"},
    "gpu": {"pools": ["AMPERE_24", "ADA_24"], "excludedTypes": ["X"], "count": 1, "minCudaVersion": "12.1"},
    "workers": {"min": 0, "max": 3, "idleTimeout": 5},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    "flashboot": "FLASHBOOT",
    "timeout": 660_000,
}
TOLD = {**ENDPOINT, "id": "e1", "networkVolumes": [], "dataCenterIds": [], "requestUrls": {}}
VOLUME = {"name": "w", "size": 50, "dataCenter": "EU-RO-1"}
CATALOGUE = [
    GpuType("NVIDIA L4", "L4", "AMPERE_24"),
    GpuType("NVIDIA RTX A5000", "RTX A5000", "AMPERE_24"),
    GpuType("NVIDIA RTX PRO 6000 MIG 24GB", "RTX PRO 6000 MIG", "AMPERE_24"),
    GpuType("NVIDIA GeForce RTX 4090", "RTX 4090", "ADA_24"),
    GpuType("NVIDIA GeForce RTX 3060", "RTX 3060", None),
]


def endpoint_body(**options: Any) -> dict[str, Any]:
    return dict(wanted(Options(image="me/w:1", **options), DOCUMENTED)[0].endpoint)


def changes(there: dict[str, Any], **more: Any) -> dict[str, Any]:
    (step,) = plan(Wanted({**ENDPOINT, **more}), ExistingResources([there]))
    return dict(step.body)


def test_an_empty_account_gets_everything_in_the_order_it_is_needed() -> None:
    steps = plan(Wanted(ENDPOINT, VOLUME), ExistingResources())
    assert [(step.verb, step.kind) for step in steps] == [("create", "network-volumes"), ("create", "serverless")]
    assert steps[1].body["networkVolumes"] == [NEW]


def test_what_is_as_it_should_be_is_kept() -> None:
    (step,) = plan(Wanted(ENDPOINT), ExistingResources([TOLD]))
    assert (step.verb, step.id) == ("keep", "e1")


def test_the_order_of_pools_is_no_change_and_neither_is_what_runpod_does_not_tell() -> None:
    gpu = {"pools": ["ADA_24", "AMPERE_24"], "count": 1, "allowedCudaVersions": [], "minCudaVersion": "12.1"}
    assert changes({**TOLD, "gpu": gpu}) == {}


def test_a_new_image_is_changed_on_the_endpoint_itself() -> None:
    assert changes(TOLD, image="me/w:2") == {"image": "me/w:2"}


def test_exclusions_that_runpod_does_not_tell_are_sent_with_every_change() -> None:
    untold = {key: value for key, value in ENDPOINT["gpu"].items() if key != "excludedTypes"}
    change = changes({**TOLD, "gpu": untold}, image="me/w:2")
    assert change["gpu"]["excludedTypes"] == ["X"]
    assert change["gpu"]["pools"] == ["AMPERE_24", "ADA_24"]


def test_a_change_of_pools_sends_the_exclusions_that_runpod_would_clear() -> None:
    change = changes({**TOLD, "gpu": {**ENDPOINT["gpu"], "pools": ["AMPERE_24"]}})
    assert change == {"gpu": {key: value for key, value in ENDPOINT["gpu"].items() if key != "count"}}


def test_a_card_that_has_joined_a_pool_is_excluded_the_next_time() -> None:
    gpu = {**ENDPOINT["gpu"], "excludedTypes": ["X", "Y"]}
    assert changes(TOLD, gpu=gpu)["gpu"]["excludedTypes"] == ["X", "Y"]


def test_exclusions_that_are_no_longer_wanted_go() -> None:
    gpu = {key: value for key, value in ENDPOINT["gpu"].items() if key != "excludedTypes"}
    assert "excludedTypes" not in changes(TOLD, gpu=gpu)["gpu"]


def test_a_list_of_cuda_versions_makes_room_for_the_least_one() -> None:
    there = {**ENDPOINT["gpu"], "minCudaVersion": None, "allowedCudaVersions": ["12.1"]}
    assert changes({**TOLD, "gpu": there})["gpu"]["allowedCudaVersions"] == []


def test_scaling_as_the_beta_told_it_is_understood() -> None:
    assert changes({**TOLD, "scaling": {"type": "QUEUE_DELAY", "value": 4}}) == {}


def test_a_variable_that_was_set_elsewhere_is_replaced_with_the_rest() -> None:
    assert changes({**TOLD, "env": {"DELIVERY": "auto", "MORE": "1"}}) == {"env": {"DELIVERY": "auto"}}


def test_the_end_of_the_name_that_marked_flashboot_is_overlooked() -> None:
    assert changes({**TOLD, "name": "w -fb"}) == {}


def test_the_type_of_an_endpoint_can_not_change() -> None:
    with pytest.raises(PlanRefused, match="LOAD_BALANCER"):
        plan(Wanted(ENDPOINT), ExistingResources([{**TOLD, "type": "LOAD_BALANCER"}]))


def test_a_name_that_two_endpoints_have_is_refused() -> None:
    with pytest.raises(PlanRefused, match="e1, e2"):
        plan(Wanted(ENDPOINT), ExistingResources([TOLD, {**TOLD, "id": "e2"}]))


def test_resources_of_other_names_are_left_alone() -> None:
    (step,) = plan(Wanted(ENDPOINT), ExistingResources([{**TOLD, "name": "other"}]))
    assert step.verb == "create"


def test_a_volume_grows() -> None:
    there = {**VOLUME, "size": 20, "id": "v1", "type": "STANDARD"}
    assert plan(Wanted(ENDPOINT, VOLUME), ExistingResources(volumes=[there]))[0].body == {"size": 50}


def test_a_volume_that_is_there_is_attached() -> None:
    volume, endpoint = plan(Wanted(ENDPOINT, VOLUME), ExistingResources([TOLD], [{**VOLUME, "id": "v1"}]))
    assert volume.verb == "keep"
    assert endpoint.body == {"networkVolumes": ["v1"]}


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ({"size": 80}, "can't shrink"),
        ({"dataCenter": "US-KS-2"}, "can't move"),
        ({"type": "STANDARD"}, "type can't change"),
    ],
)
def test_a_volume_neither_shrinks_nor_moves_nor_changes_its_type(there: dict[str, Any], why: str) -> None:
    with pytest.raises(PlanRefused, match=why):
        plan(
            Wanted(ENDPOINT, {**VOLUME, "type": "HIGH_PERFORMANCE"}),
            ExistingResources(volumes=[{**VOLUME, "id": "v1", **there}]),
        )


def test_other_types_of_the_pools_are_excluded_and_blackwell_with_them() -> None:
    choice = choose(["NVIDIA GeForce RTX 4090", "NVIDIA L4"], CATALOGUE, cuda="cu121")
    assert choice.pools == ("ADA_24", "AMPERE_24")
    assert choice.excluded == ("NVIDIA RTX A5000", "NVIDIA RTX PRO 6000 MIG 24GB")


def test_a_pool_stands_for_its_types_without_blackwell_unless_the_image_knows_it() -> None:
    assert choose(["AMPERE_24"], CATALOGUE, cuda="cu121").excluded == ("NVIDIA RTX PRO 6000 MIG 24GB",)
    assert choose(["AMPERE_24"], CATALOGUE, cuda="cu128").excluded == ()


@pytest.mark.parametrize(
    ("name", "blackwell"),
    [
        ("NVIDIA GeForce RTX 5090", True),
        ("NVIDIA B200", True),
        ("NVIDIA RTX PRO 6000 MIG 24GB", True),
        ("NVIDIA RTX PRO 5000 Blackwell", True),
        ("NVIDIA RTX 5000 Ada Generation", False),
        ("NVIDIA GeForce RTX 4090", False),
        ("NVIDIA RTX A5000", False),
        ("NVIDIA H200", False),
    ],
)
def test_blackwell_is_known_by_its_name(name: str, blackwell: bool) -> None:  # noqa: FBT001 - a parameter of the table
    assert GpuType(name, name, "P").blackwell is blackwell


@pytest.mark.parametrize(
    ("said", "types"),
    [
        ("4090", ["NVIDIA GeForce RTX 4090"]),
        ("rtx 4090", ["NVIDIA GeForce RTX 4090"]),
        ("l4", ["NVIDIA L4"]),
        ("L40S", ["NVIDIA L40S"]),
        ("a100", ["NVIDIA A100 80GB PCIe", "NVIDIA A100-SXM4-80GB"]),
        ("RTX 6000 Ada", ["NVIDIA RTX 6000 Ada Generation"]),
    ],
)
def test_gpus_are_called_as_people_call_them(said: str, types: list[str]) -> None:
    choice = choose([said], DOCUMENTED, cuda="cu121")
    chosen = [gpu.id for gpu in DOCUMENTED if gpu.pool in choice.pools and gpu.id not in choice.excluded]
    assert chosen == types
    assert choice.notes == ((f"{said} means {', '.join(types)}",) if len(types) > 1 else ())


def test_a_gpu_that_is_not_offered_is_told_with_what_was_meant() -> None:
    choice = choose(["NVIDIA L44", "NVIDIA L4", "NVIDIA GeForce RTX 3060"], CATALOGUE, cuda="cu121")
    assert "NVIDIA L4?" in choice.notes[0]
    assert "no pool" in choice.notes[1]
    assert choice.pools == ("AMPERE_24",)


@pytest.mark.parametrize("names", [["NVIDIA L44"], ["NVIDIA RTX PRO 6000 MIG 24GB"], ["NVIDIA GeForce RTX 3060"]])
def test_gpus_that_can_not_be_had_are_refused(names: list[str]) -> None:
    with pytest.raises(NoGpus):
        choose(names, CATALOGUE, cuda="cu121")


def test_more_pools_than_runpod_serves_are_refused() -> None:
    with pytest.raises(NoGpus, match="4 pools"):
        choose(["AMPERE_16", "AMPERE_24", "ADA_24", "AMPERE_48"], DOCUMENTED, cuda="cu121")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_fits_the_documented_pools(preset: Any) -> None:
    resources, notes = wanted(Options(image="me/w:1", preset=preset), DOCUMENTED)
    gpu = resources.endpoint["gpu"]
    assert notes == ()
    assert 1 <= len(gpu["pools"]) <= gpus.MOST_POOLS
    assert gpu["minCudaVersion"] == "12.1"


def test_flashboot_and_time_out_are_always_sent() -> None:
    assert endpoint_body()["flashboot"] == "FLASHBOOT"
    assert endpoint_body()["timeout"] == 660_000
    assert endpoint_body(env=["JOB_TIMEOUT_S=100"])["timeout"] == 160_000


def test_a_queue_that_scales_by_request_count_has_no_idle_time_out() -> None:
    body = endpoint_body(preset="throughput")
    assert body["scaling"] == {"type": "REQUEST_COUNT", "requestCount": 3}
    assert "idleTimeout" not in body["workers"]
    with pytest.raises(Misuse, match="--idle-timeout"):
        endpoint_body(preset="throughput", idle_timeout=60)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_load_balancer_scales_by_request_count_and_keeps_its_idle_time_out(preset: Any) -> None:
    body = endpoint_body(type="load-balancer", preset=preset)
    assert body["type"] == "LOAD_BALANCER"
    assert body["scaling"]["type"] == "REQUEST_COUNT"
    assert body["workers"]["idleTimeout"] == PRESETS[preset].idle_s
    assert body["ports"] == ["80/http"]


def test_the_image_s_variant_is_read_from_its_tag_or_said() -> None:
    assert endpoint_body()["gpu"]["minCudaVersion"] == "12.1"
    cu128, _ = wanted(Options(image="me/w:1.0-cu128", gpu=["NVIDIA GeForce RTX 5090"]), DOCUMENTED)
    assert cu128.endpoint["gpu"]["minCudaVersion"] == "12.8"
    with pytest.raises(NoGpus, match="cu128"):
        endpoint_body(gpu=["NVIDIA GeForce RTX 5090"])
    assert endpoint_body(gpu=["NVIDIA GeForce RTX 5090"], cuda="cu128")["gpu"]["pools"] == ["ADA_32_PRO"]


def test_a_volume_has_its_type() -> None:
    options = Options(image="me/w:1", volume_gb=50, volume_type="high-performance", data_center="EU-RO-1")
    volume = wanted(options, DOCUMENTED)[0].volume
    assert volume == {"name": "a1111-worker", "size": 50, "dataCenter": "EU-RO-1", "type": "HIGH_PERFORMANCE"}
