"""Workflows on the stand-in: what they make, what they tell, and what a repeat of them need not make again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import requests
from pydantic import TypeAdapter

from tests.support.rig import pixels
from worker.contract.answers import StreamedPiece

if TYPE_CHECKING:
    from tests.integration.conftest import Worker
    from tests.support.servers.s3 import Store
    from worker.telemetry.progress import Progress

SMALL: dict[str, Any] = {"prompt": "a cat", "steps": 2, "seed": 7}
STAGES: list[dict[str, Any]] = [
    {"name": "base", "type": "txt2img", "width": 64, "height": 96},
    {"name": "mid", "type": "img2img", "scale": 2, "denoising_strength": 0.25, "seed_offset": 1000},
    {"name": "final", "type": "upscale", "scale": 2, "upscaler": "Lanczos"},
]


def job(**fields: Any) -> dict[str, Any]:
    return {"type": "workflow", **SMALL, "stages": STAGES, **fields}


def workflow(worker: Worker, name: str, **fields: Any) -> dict[str, Any]:
    return worker.run_job({"id": name, "input": job(**fields)})


def asked(worker: Worker) -> list[str]:
    """The pictures that the WebUI was asked for, by what was asked."""
    entries = requests.get(f"{worker.url}/standin/requests", timeout=10).json()
    kinds = ("txt2img", "img2img", "extra-single-image")
    return [name for entry in entries if (name := entry["path"].rpartition("/")[2]) in kinds]


def test_three_stages_make_what_three_jobs_by_hand_make(worker: Worker) -> None:
    answer = workflow(worker, "three", output={"intermediates": ["base", "mid"], "delivery": "base64"})
    base = worker.run_job({"id": "a", "input": {**SMALL, "width": 64, "height": 96}})
    start = {"init_images": base["images"], "denoising_strength": 0.25, "width": 128, "height": 192}
    mid = worker.run_job({"id": "b", "input": {**SMALL, "seed": 1007, **start}})
    final = worker.run_job({"id": "c", "input": {"image": mid["images"][0], "scale": 2, "upscaler": "Lanczos"}})
    told = {stage["name"]: stage for stage in answer["stages"]}
    assert pixels(told["base"]["images"][0]) == pixels(base["images"][0])
    assert pixels(told["mid"]["images"][0]) == pixels(mid["images"][0])
    assert pixels(answer["images"][0]) == pixels(final["images"][0])
    assert answer["applied"]["size"] == {"width": 256, "height": 384}
    assert [stage["seeds"] for stage in answer["stages"]] == [[7], [1007], [7]]
    assert [stage["type"] for stage in answer["stages"]] == ["txt2img", "img2img", "upscale"]
    assert all(stage["phase_ms"]["total"] > 0 for stage in answer["stages"])


def test_every_picture_goes_through_every_stage_with_its_own_seed_and_prompt(worker: Worker) -> None:
    answer = workflow(worker, "several", prompt="a {red|green|blue} cat", wildcards=True, n_iter=3)
    entries = requests.get(f"{worker.url}/standin/requests", timeout=10).json()
    drawn = [entry["json"]["prompt"] for entry in entries if entry["path"].endswith("txt2img")]
    redrawn = [entry["json"]["prompt"] for entry in entries if entry["path"].endswith("img2img")]
    assert drawn == redrawn
    assert len(set(drawn)) > 1
    assert [stage["seeds"] for stage in answer["stages"][:2]] == [[7, 8, 9], [1007, 1008, 1009]]
    assert len(answer["images"]) == 3


def test_a_stage_that_is_off_lets_the_pictures_pass_and_until_ends_the_run(worker: Worker) -> None:
    stages = [STAGES[0], {**STAGES[1], "enabled": False}, STAGES[2]]
    answer = workflow(worker, "off", stages=stages)
    assert asked(worker) == ["txt2img", "extra-single-image"]
    assert answer["stages"][1] == {"name": "mid", "type": "img2img", "skipped": True}
    worker.reset()
    answer = workflow(worker, "until", until="base")
    assert asked(worker) == ["txt2img"]
    assert answer["applied"]["size"] == {"width": 64, "height": 96}


def test_a_named_workflow_takes_changes_by_stage(worker: Worker) -> None:
    changes = {"base": {"steps": 2, "width": 64, "height": 64}, "mid": {"enabled": False}}
    fields = {"type": "workflow", "workflow": "three_stages", "prompt": "a cat", "seed": 3, "stages": changes}
    answer = worker.run_job(
        {"id": "named", "input": {**fields, "stages": {**changes, "final": {"upscaler": "Lanczos", "tiles": None}}}}
    )
    assert answer["applied"] == {"upscalers": ["Lanczos"], "size": {"width": 128, "height": 128}}


def test_every_mistake_of_every_stage_is_told_before_anything_is_made(worker: Worker) -> None:
    stages = [
        {**STAGES[0], "width": 65},
        {**STAGES[1], "denoising_strength": 3, "from": "bass"},
        {**STAGES[2], "upscalers": "x"},
    ]
    answer = workflow(worker, "wrong", stages=stages, steps=500)
    found = [problem["path"] for problem in answer["details"]["problems"]]
    assert found == [
        "steps",
        "stages[0].width",
        "stages[1].from",
        "stages[1].denoising_strength",
        "stages[2].upscalers",
    ]
    assert asked(worker) == []


def test_a_name_that_a_late_stage_has_wrong_is_told_before_anything_is_made(worker: Worker) -> None:
    stages = [STAGES[0], {**STAGES[1], "sampler_name": "Eular"}, {**STAGES[2], "upscaler": "Lanzcos"}]
    answer = workflow(worker, "names", stages=stages)
    found = [(problem["path"], problem.get("suggestion")) for problem in answer["details"]["problems"]]
    assert found == [("stages[1].sampler_name", "Euler"), ("stages[2].upscaler", "Lanczos")]
    assert asked(worker) == []


def test_a_dry_run_shows_every_request_and_what_all_of_it_costs(worker: Worker) -> None:
    answer = worker.run_job({"id": "dry", "input": {"type": "validate", "job": job(n_iter=2)}})
    assert [(each["stage"], each["times"], each["path"].rpartition("/")[2]) for each in answer["requests"]] == [
        ("base", 1, "txt2img"),
        ("mid", 2, "img2img"),
        ("final", 2, "extra-single-image"),
    ]
    assert (answer["requests"][1]["body"]["width"], answer["requests"][1]["body"]["height"]) == (128, 192)
    assert answer["cost"]["steps"] == 2 * 2 + 2 * 2
    assert set(answer["cost"]["stages"]) == {"base", "mid", "final"}
    assert asked(worker) == []


def test_a_failed_stage_leaves_what_was_made_and_a_repeat_begins_there(worker: Worker, store: Store) -> None:
    worker.fault("http-error", path="extra-single-image")
    answer = workflow(worker, "broken")
    done = answer["details"]["stages_done"]
    assert answer["details"]["stage"] == "final"
    assert [stage["name"] for stage in done] == ["base", "mid"]
    assert set(store.keys("pics", "broken.")) == {key for stage in done for key in stage["keys"]}
    worker.reset()
    again = workflow(worker, "broken")
    assert asked(worker) == ["extra-single-image"]
    worker.reset()
    assert pixels(again["images"][0]) == pixels(workflow(worker, "whole")["images"][0])


def test_stages_whose_names_are_nearly_one_are_told_apart_in_a_repeat(worker: Worker) -> None:
    mid = {"type": "img2img", "denoising_strength": 0.3, "seed_offset": 5}
    stages = [{**STAGES[0], "name": "a b"}, {**mid, "name": "a-b"}, {**mid, "name": "x" * 120}, STAGES[2]]
    whole = workflow(worker, "near-whole", stages=stages, n_iter=2)
    worker.fault("http-error", path="extra-single-image")
    assert "error" in workflow(worker, "near", stages=stages, n_iter=2)
    worker.reset()
    again = workflow(worker, "near", stages=stages, n_iter=2)
    assert set(asked(worker)) == {"extra-single-image"}
    assert [pixels(image) for image in again["images"]] == [pixels(image) for image in whole["images"]]


def test_a_repeat_with_another_input_begins_anew(worker: Worker) -> None:
    worker.fault("http-error", path="extra-single-image")
    assert "error" in workflow(worker, "other")
    worker.reset()
    workflow(worker, "other", seed=8)
    assert asked(worker) == ["txt2img", "img2img", "extra-single-image"]


def test_a_random_seed_is_the_same_in_the_repeat(worker: Worker) -> None:
    worker.fault("http-error", path="img2img")
    failed = workflow(worker, "random", seed=-1)
    seed = failed["details"]["stages_done"][0]["seeds"]
    worker.reset()
    assert workflow(worker, "random", seed=-1)["stages"][0]["seeds"] == seed


def test_progress_only_grows_over_all_stages(worker: Worker) -> None:
    workflow(worker, "progress", n_iter=2)
    told = [progress.percent for progress in worker.progress if progress.stage == "generate"]
    assert told == sorted(told)
    assert worker.progress[-1].percent >= 90


def test_the_pictures_of_each_stage_are_streamed(worker: Worker) -> None:
    pieces: list[dict[str, Any]] = []

    async def take(piece: dict[str, Any]) -> None:
        TypeAdapter(StreamedPiece).validate_python(piece, strict=True)
        pieces.append(piece)

    whole = {"id": "streamed", "input": job(stream=True, output={"delivery": "base64"})}
    answer = asyncio.run(worker.host.run(whole, on_progress=lambda _: None, on_piece=take))
    assert [(piece["stage"], piece["seed"]) for piece in pieces] == [("base", 7), ("mid", 1007), ("final", 7)]
    assert pieces[-1]["image"] == answer["images"][0]
    assert answer["streamed"] == 3


def test_no_other_job_has_the_gpu_between_the_stages(worker: Worker) -> None:
    async def both() -> None:
        first = asyncio.ensure_future(run(worker, "first", job(steps=20)))
        while not asked(worker):  # noqa: ASYNC110 - the stand-in has to be asked, it does not call
            await asyncio.sleep(0.01)  # as above
        await asyncio.gather(first, run(worker, "second", {**SMALL, "width": 64, "height": 64}))

    worker.fault("slow-step", count=-1, seconds=0.01)
    asyncio.run(both())
    assert asked(worker) == ["txt2img", "img2img", "extra-single-image", "txt2img"]


def test_where_the_time_is_over_in_a_stage_what_was_made_before_is_told(worker: Worker) -> None:
    worker.fault("slow-step", count=-1, seconds=0.3)
    slow = {**STAGES[1], "denoising_strength": 1, "steps": 60}
    answer = workflow(worker, "late", stages=[STAGES[0], slow, STAGES[2]], timeout_s=5)
    assert answer["error_code"] == "deadline_exceeded"
    assert answer["details"]["stage"] == "mid"
    (done,) = answer["details"]["stages_done"]
    assert (done["name"], len(done["keys"])) == ("base", 1)


def test_a_stage_with_seeds_of_its_own_has_them_in_the_place_of_the_pictures(worker: Worker) -> None:
    answer = workflow(worker, "seeds", stages=[STAGES[0], {**STAGES[1], "seed_offset": 10, "seeds": [1, 2]}])
    assert answer["seeds"] == [11, 12]
    answer = workflow(worker, "top", seed=-1, stages=[STAGES[0], {**STAGES[1], "seed_offset": 2**53 - 1}])
    assert answer["seeds"] == [2**53 - 1]


def test_a_stage_behind_one_that_is_too_large_is_not_planned_with_its_picture(worker: Worker) -> None:
    stages = [{"type": "upscale", "upscaler": "Lanczos", "scale": scale} for scale in (8, 2, 6, 8, 8)]
    answer = workflow(worker, "huge", stages=[STAGES[0], *stages])
    found = [(problem["path"], problem["message"]) for problem in answer["details"]["problems"]]
    told = "makes a picture of {}; at most 8192 pixels a side are allowed"
    sizes = ["6144x9216", "8192x12288", "8192x12288"]
    assert found == [(f"stages[{number + 3}].scale", told.format(size)) for number, size in enumerate(sizes)]


def test_a_cancel_ends_the_stage_that_runs(worker: Worker) -> None:
    stages = [{**STAGES[0], "steps": 1}, {**STAGES[1], "steps": 150}, STAGES[2]]

    async def cancelled() -> None:
        task = asyncio.ensure_future(run(worker, "cancelled", job(stages=stages)))
        while "img2img" not in asked(worker):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)  # as above
        task.cancel()
        ends = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ends[0], asyncio.CancelledError), ends
        await run(worker, "next", {**SMALL, "width": 64, "height": 64})

    worker.fault("slow-step", count=-1, seconds=0.3)
    asyncio.run(cancelled())
    assert asked(worker) == ["txt2img", "img2img", "txt2img"]


def test_what_tiles_the_memory_holds_is_known_for_the_next_pictures_of_the_job(worker: Worker) -> None:
    tiled = {**STAGES[2], "tiles": {"size": 128, "overlap": 32, "denoising_strength": 0.4}}
    worker.fault("oom", count=-1, pixels=128 * 128)
    answer = workflow(worker, "tiles", stages=[{**STAGES[0], "height": 64, "width": 96}, tiled], n_iter=2)
    entries = requests.get(f"{worker.url}/standin/requests", timeout=10).json()
    redrawn = [len(entry["json"]["init_images"]) for entry in entries if entry["path"].endswith("/img2img")]
    assert [stage["applied"]["tiles"]["count"] for stage in answer["stages"][1:]] == [2]
    assert redrawn == [2, 1, 1, 1, 1]


def test_loopback_is_done_in_stages_as_the_webuis_script_does_it(worker: Worker) -> None:
    start = worker.run_job({"id": "start", "input": {**SMALL, "width": 64, "height": 64}})["images"]
    size = {"width": 64, "height": 64}
    fields = {**SMALL, **size, "init_images": start, "denoising_strength": 0.5, "script_name": "Loopback"}
    whole = {"api": {"method": "POST", "endpoint": "/sdapi/v1/img2img"}}
    worker.reset()
    answer = worker.run_job({"id": "loop", "input": {**whole, "payload": {**fields, "script_args": [3, 0.1, "Lazy"]}}})
    entries = requests.get(f"{worker.url}/standin/requests", timeout=10).json()
    sent = [entry["json"] for entry in entries if entry["path"].endswith("/img2img")]
    assert [(body["seed"], round(body["denoising_strength"], 4)) for body in sent] == [(7, 0.5), (8, 0.3828), (9, 0.1)]
    assert all("script_name" not in body for body in sent)
    by_hand = start
    for number, strength in enumerate(body["denoising_strength"] for body in sent):
        job = {**SMALL, "seed": 7 + number, "init_images": by_hand, "denoising_strength": strength}
        by_hand = worker.run_job({"id": f"hand-{number}", "input": job})["images"]
        assert pixels(answer["images"][number]) == pixels(by_hand[0])
    assert len(answer["images"]) == 3


async def run(worker: Worker, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = await worker.host.run({"id": name, "input": fields}, on_progress=lambda _: None)
    return answer


SLOW_MID = [STAGES[0], {**STAGES[1], "denoising_strength": 1, "steps": 9}, STAGES[2]]


def ended_in_mid(worker: Worker, name: str, **fields: Any) -> dict[str, Any]:
    """The answer to a workflow that its client ends while its second stage is being made."""
    worker.fault("slow-step", count=2, seconds=0.3)

    async def story() -> dict[str, Any]:
        loop = asyncio.get_running_loop()

        def tell(progress: Progress) -> None:
            if progress.steps == 9:
                loop.call_soon_threadsafe(worker.host.interrupt, name, "interrupt")

        whole = {"id": name, "input": job(stages=SLOW_MID, **fields)}
        return dict(await worker.host.run(whole, on_progress=tell))

    return asyncio.run(story())


def test_a_workflow_that_its_client_ends_answers_with_the_stage_that_ran(worker: Worker) -> None:
    answer = ended_in_mid(worker, "ends")
    assert asked(worker) == ["txt2img", "img2img"]
    assert answer["applied"]["size"] == {"width": 128, "height": 192}
    assert answer["seeds"] == [1007]
    assert [stage.get("skipped", False) for stage in answer["stages"]] == [False, False, True]
    assert "ended early by the client" in answer["warnings"][0]
    again = worker.run_job({"id": "more", "input": {"type": "continue", "job": "ends", "output": {"delivery": "s3"}}})
    assert again["error_code"] == "invalid_input", "nobody goes on with an unfinished picture"


def test_a_workflow_that_is_ended_between_two_stages_answers_with_the_one_before(worker: Worker) -> None:
    async def story() -> dict[str, Any]:
        async def on_piece(_: dict[str, Any]) -> None:
            assert worker.host.interrupt("between", "interrupt")

        whole = {"id": "between", "input": job(stream=True, n_iter=2, output={"intermediates": ["base"]})}
        return dict(await worker.host.run(whole, on_progress=lambda _: None, on_piece=on_piece))

    answer = asyncio.run(story())
    assert asked(worker) == ["txt2img"]
    assert answer["seeds"] == [7, 8]
    assert [stage.get("skipped", False) for stage in answer["stages"]] == [False, True, True]
    assert answer["warnings"][0] == "ended early by the client: base is the last stage that was run"


def test_an_unfinished_picture_is_not_kept_for_a_repeat(worker: Worker) -> None:
    ended_in_mid(worker, "kept", seed=70)
    worker.reset()
    whole = workflow(worker, "other", stages=SLOW_MID, seed=70)
    repeated = workflow(worker, "kept", stages=SLOW_MID, seed=70, output={"intermediates": ["mid"]})
    assert pixels(repeated["images"][0]) == pixels(whole["images"][0])
