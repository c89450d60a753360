"""The WebUI dies, hangs, has no memory, makes NaNs, answers wrongly: what the customer gets, what becomes of it."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support import models
from tests.support.pace import stretched
from tests.support.rig import POISON, pixels
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.rig import Rig


@pytest.fixture
def job(rig: Rig, request: pytest.FixtureRequest) -> dict[str, Any]:
    """A job of this test's own: a job that has killed the WebUI twice, in whichever tests, would be refused."""
    return {"prompt": f"a cat, {request.node.name}"}


@pytest.fixture
def right(rig: Rig, job: dict[str, Any]) -> str:
    """The pixels of that job's picture, as made when nothing goes wrong."""
    return pixels(rig.run(**job)["images"][0])


def assert_made_again(answer: dict[str, Any], right: str) -> None:
    assert "error" not in answer, answer
    assert pixels(answer["images"][0]) == right
    assert any("second run" in warning for warning in answer["warnings"])


def test_killed_in_the_middle_of_a_job_the_picture_comes_from_a_second_run(
    rig: Rig, job: dict[str, Any], right: str
) -> None:
    before = rig.webui()
    rig.fault("die", step=2)
    assert_made_again(rig.run(**job), right)
    assert rig.webui().pid != before.pid


def test_killed_while_idle_the_next_job_finds_a_new_one(rig: Rig, job: dict[str, Any], right: str) -> None:
    rig.webui().kill()
    assert pixels(rig.run(**job)["images"][0]) == right


def test_a_job_that_kills_it_twice_is_refused_for_a_while_others_are_not(
    rig: Rig, job: dict[str, Any], right: str
) -> None:
    answer = rig.run(prompt=f"a {POISON} cat")
    assert answer["error_code"] == "webui_crashed"
    assert "SIGKILL" in answer["error"]
    assert answer["details"]["failed_before"] == {"webui_crashed": 1}
    again = rig.run(prompt=f"a {POISON} cat", seed=1)
    assert again["error_code"] == "webui_crashed"
    assert again["details"]["poison"] is True
    assert pixels(rig.run(**job)["images"][0]) == right


def test_deaf_to_interrupts_it_is_restarted_and_the_picture_made_again(
    rig: Rig, job: dict[str, Any], right: str
) -> None:
    rig.fault("hang", step=2)
    assert_made_again(rig.run(**job), right)


@pytest.mark.slow
def test_a_hang_after_a_model_was_loaded_is_noticed_as_soon_as_any(rig: Rig, job: dict[str, Any]) -> None:
    right = pixels(rig.run(**job, checkpoint="Other_v1")["images"][0])
    rig.run(**job)
    rig.fault("hang", step=3)
    rig.fault("slow-step", seconds=0.6)  # the first steps are heard of
    began = time.monotonic()
    assert_made_again(rig.run(**job, checkpoint="Other_v1"), right)
    assert time.monotonic() - began < stretched(20), "the time for loading a model is a minute here"


def test_stopped_like_a_frozen_driver_it_is_killed_and_the_picture_made_again(
    rig: Rig, job: dict[str, Any], right: str
) -> None:
    rig.fault("slow-step", seconds=0.3)
    offered = rig.offer(**job)
    rig.wait_sampling()
    rig.webui().send_signal(signal.SIGSTOP)
    assert_made_again(rig.answer(offered), right)


@pytest.mark.slow
def test_stopped_while_it_loads_a_model_it_is_killed_long_before_the_time_for_loading_is_over(
    rig: Rig, job: dict[str, Any]
) -> None:
    right = pixels(rig.run(**job, checkpoint="Other_v1")["images"][0])
    rig.run(**job)
    before, sent = rig.webui(), len(rig.sent())
    rig.fault("slow-load", seconds=30)
    offered = rig.offer(**job, checkpoint="Other_v1")
    wait_until(lambda: len(rig.sent()) > sent)
    before.suspend()
    began = time.monotonic()
    assert_made_again(rig.answer(offered), right)
    assert time.monotonic() - began < stretched(20), "the time for loading a model is a minute here"


@pytest.mark.slow
def test_stopped_while_it_upscales_it_is_killed_and_the_picture_made_by_the_next_one(rig: Rig) -> None:
    picture = rig.run()["images"][0]
    upscale = {"type": "upscale", "image": picture, "upscaler": "Lanczos", "scale": 2}
    right = rig.answer(rig.source.offer({"input": upscale}))["images"][0]
    before = rig.webui()
    before.suspend()
    assert pixels(rig.answer(rig.source.offer({"input": upscale}))["images"][0]) == pixels(right)
    assert rig.webui().pid != before.pid


def test_out_of_memory_gives_the_same_pictures_in_smaller_batches_and_is_remembered(rig: Rig) -> None:
    alone = [pixels(rig.run(seed=seed)["images"][0]) for seed in range(42, 46)]
    rig.fault("oom", count=-1, pixels=2 * 64 * 64)
    answer = rig.run(batch_size=4)
    assert [pixels(image) for image in answer["images"]] == alone
    assert answer["seeds"] == [42, 43, 44, 45]
    assert any("2 of these pictures at once" in warning for warning in answer["warnings"])
    tried = len(rig.sent())
    assert [pixels(image) for image in rig.run(batch_size=4)["images"]] == alone
    assert len(rig.sent()) == tried + 1, "the limit was learnt, so nothing fails a second time"
    rig.reset()


def test_out_of_memory_at_every_size_says_what_would_fit(rig: Rig, job: dict[str, Any], right: str) -> None:
    rig.fault("oom", count=-1, pixels=100 * 64)
    answer = rig.run(width=128, batch_size=2)
    assert answer["error_code"] == "out_of_memory"
    assert answer["fault"] == "client"
    assert answer["details"]["would_fit"] == {
        "batch_size": 1,
        "size": {"width": 64, "height": 64},
        "seen_to_fit": True,
    }
    assert rig.sent()[-1]["override_settings"]["batch_cond_uncond"] is False
    rig.reset()
    assert pixels(rig.run(**job)["images"][0]) == right


def test_out_of_memory_in_spite_of_all_that_was_planned_has_a_second_run(rig: Rig) -> None:
    job = {"width": 72, "height": 72, "prompt": "a cat, twice out of memory"}
    rig.fault("oom")
    assert "error" not in rig.run(**job)
    assert rig.sent()[-1]["override_settings"]["batch_cond_uncond"] is False
    right = pixels(rig.run(**job)["images"][0])
    rig.fault("oom")
    assert_made_again(rig.run(**job), right)


@pytest.mark.parametrize("fault", ["cuda-error", "oom", "nan"])
def test_a_plot_with_a_cell_that_failed_is_made_again(rig: Rig, fault: str) -> None:
    own = models.checkpoint(rig.folder / "models" / "checkpoints" / f"plot_{fault}.safetensors").stem
    plot = {"checkpoint": own, "plot": {"x": {"field": "steps", "values": [2, 3]}}}
    right = [pixels(image) for image in rig.run(**plot)["images"]]
    before = rig.webui().pid
    rig.fault(fault, after=1)
    answer = rig.run(**plot)
    assert "error" not in answer, answer
    assert [pixels(image) for image in answer["images"]] == right
    assert (rig.webui().pid != before) is (fault == "cuda-error"), "a lost GPU comes back with a new process alone"


@pytest.mark.parametrize("fault", ["nan", "black"])
def test_nans_are_made_again_in_full_precision_which_is_remembered_for_the_model(rig: Rig, fault: str) -> None:
    own = models.checkpoint(rig.folder / "models" / "checkpoints" / f"{fault}_v1.safetensors").stem
    rig.fault(fault)
    answer = rig.run(checkpoint=own, seed=7)
    assert "error" not in answer
    assert rig.sent()[-1]["override_settings"]["upcast_attn"] is True
    rig.run(checkpoint=own, seed=8)
    assert rig.sent()[-1]["override_settings"]["upcast_attn"] is True
    rig.run()
    assert "upcast_attn" not in rig.sent()[-1]["override_settings"]


def test_nans_again_and_again_are_an_error(rig: Rig) -> None:
    rig.fault("nan", count=-1)
    assert rig.run(seed=1)["error_code"] == "nan_image"
    rig.reset()


def test_a_cuda_error_is_survived_by_a_restart(rig: Rig, job: dict[str, Any], right: str) -> None:
    before = rig.webui().pid
    rig.fault("cuda-error")
    assert_made_again(rig.run(**job), right)
    assert rig.webui().pid != before


def test_after_a_failed_checkpoint_switch_the_next_picture_is_right(rig: Rig) -> None:
    weighted = {"prompt": "a (fluffy:1.4) cat", "seed": 3}
    right = pixels(rig.run(**weighted)["images"][0])
    gone = models.checkpoint(rig.folder / "models" / "checkpoints" / "Gone_v1.safetensors")
    assert "error" not in rig.run(checkpoint="Gone_v1")
    rig.run()
    gone.unlink()
    answer = rig.run(checkpoint="Gone_v1", seed=4)
    assert answer["fault"] in {"worker", "client"}
    assert pixels(rig.run(**weighted)["images"][0]) == right


@pytest.mark.parametrize("batch_size", [1, 2])
def test_without_memory_for_another_checkpoint_a_new_process_makes_the_picture(rig: Rig, batch_size: int) -> None:
    weighted = {"prompt": f"a (fluffy:1.4) cat {batch_size}", "seed": 3}
    right = pixels(rig.run(**weighted)["images"][0])
    other = models.checkpoint(rig.folder / "models" / "checkpoints" / f"Other_{batch_size}.safetensors").stem
    before = rig.webui().pid
    rig.fault("load-oom")
    answer = rig.run(checkpoint=other, seed=4, batch_size=batch_size)
    assert len(answer["images"]) == batch_size
    assert answer["applied"]["checkpoint"] == other
    assert rig.webui().pid != before, "the process would have answered on, with other pictures"
    assert pixels(rig.run(**weighted)["images"][0]) == right


def test_a_lora_that_memory_failed_is_applied_by_a_new_process(rig: Rig) -> None:
    styled = {"prompt": "a styled cat", "loras": [{"name": "add_detail", "scale": 0.8}]}
    right = pixels(rig.run(**styled)["images"][0])
    plain = pixels(rig.run(prompt="a styled cat")["images"][0])
    rig.fault("starved-lora")
    answer = rig.run(**styled, seed=42)
    assert pixels(answer["images"][0]) == right != plain
    assert pixels(rig.run(**styled)["images"][0]) == right


@pytest.mark.parametrize(
    ("fault", "parameters"),
    [
        ("truncated-picture", {}),
        ("wrong-model", {"name": "Other"}),
        ("wrong-size", {}),
        ("wrong-sampler", {}),
        ("missing-picture", {}),
        ("cut-body", {"path": "txt2img"}),
        ("drop-after", {"path": "txt2img"}),
        ("drop-before", {"path": "txt2img"}),
        ("not-json", {"path": "txt2img"}),
    ],
)
def test_one_wrong_answer_is_made_good_by_a_second_run(
    rig: Rig, job: dict[str, Any], right: str, fault: str, parameters: dict[str, Any]
) -> None:
    before = rig.webui().pid
    rig.fault(fault, **parameters)
    assert_made_again(rig.run(**job), right)
    assert rig.webui().pid == before


def test_wrong_answers_again_and_again_are_an_error_and_a_restart(rig: Rig, job: dict[str, Any], right: str) -> None:
    before = rig.webui().pid
    rig.fault("wrong-model", count=-1, name="Other")
    answer = rig.run(**job)
    assert answer["error_code"] == "wrong_result"
    assert answer["details"]["failed_before"] == {"wrong_result": 1}
    assert pixels(rig.run(**job)["images"][0]) == right
    assert rig.webui().pid != before


def test_a_job_over_its_deadline_says_what_was_done_and_the_next_picture_is_clean(
    rig: Rig, job: dict[str, Any], right: str
) -> None:
    rig.fault("slow-step", seconds=0.3)
    answer = rig.run(steps=50, timeout_s=2)
    assert answer["error_code"] == "deadline_exceeded"
    assert 1 <= answer["details"]["done"]["step"] < 50
    assert pixels(rig.run(**job)["images"][0]) == right


def test_the_platforms_deadline_holds_too(rig: Rig) -> None:
    rig.fault("slow-step", seconds=0.3)
    job = rig.source.offer(
        {
            "input": {"prompt": "a cat", "steps": 50, "width": 64, "height": 64},
            "policy": {"executionTimeout": 1500},
        }
    )
    assert rig.answer(job)["error_code"] == "deadline_exceeded"


def test_a_cancel_interrupts_within_a_second_and_the_next_picture_is_clean(
    rig: Rig, job: dict[str, Any], right: str
) -> None:
    rig.fault("slow-step", seconds=0.2)
    cancelled = rig.offer(steps=100)
    rig.wait_sampling()
    rig.source.cancel(cancelled)
    stopped = rig.source.wait_event("stopped", cancelled).at  # the SDK pauses between two questions after it
    while (state := requests.get(f"{rig.url}/sdapi/v1/progress", timeout=10).json()["state"])["job"]:
        if state["interrupted"]:
            break
    assert time.monotonic() - stopped < stretched(1)
    following = rig.offer(**job)
    assert pixels(rig.answer(following)["images"][0]) == right
    assert rig.source.wait_result(following).at - stopped < stretched(3)
    assert rig.source.events("done", cancelled) == []


def test_a_picture_that_a_stray_interrupt_left_unfinished_is_made_again(
    rig: Rig, job: dict[str, Any], right: str
) -> None:
    rig.fault("slow-step", seconds=0.3)
    offered = rig.offer(**job)
    rig.wait_sampling()
    requests.post(f"{rig.url}/sdapi/v1/interrupt", timeout=10)
    assert_made_again(rig.answer(offered), right)


def test_a_picture_made_while_an_earlier_job_broke_the_process_is_made_again(rig: Rig) -> None:
    weighted = {"prompt": "a (velvet:1.4) cat", "seed": 3}
    other = models.checkpoint(rig.folder / "models" / "checkpoints" / "Breaking_v1.safetensors").stem
    right = pixels(rig.run(**weighted)["images"][0])
    spans = len(requests.get(f"{rig.url}/standin/spans", timeout=10).json())
    before = rig.webui()
    rig.fault("load-oom")
    rig.fault("late", path="txt2img", seconds=1)
    breaking = rig.offer(checkpoint=other, seed=9)
    while len(requests.get(f"{rig.url}/standin/spans", timeout=10).json()) == spans:
        pass  # until it has left the GPU, its answer still to come
    hurt = rig.answer(rig.offer(**weighted))
    assert pixels(hurt["images"][0]) == right, "its first answer came from the broken process, with 200"
    assert any("because of another job" in warning for warning in hurt["warnings"])
    assert "error" not in rig.answer(breaking)
    assert rig.webui().pid != before.pid


@pytest.mark.parametrize("fault", ["truncated-picture", "broken-base64", "wrong-size"])
def test_a_wrong_answer_to_an_upscale_is_made_good_once_and_then_an_error(
    rig: Rig, job: dict[str, Any], fault: str
) -> None:
    upscale = {"type": "upscale", "image": rig.run(**job)["images"][0], "upscaler": "Lanczos", "scale": 2}
    right = pixels(rig.answer(rig.source.offer({"input": upscale}))["images"][0])
    rig.fault(fault)
    assert pixels(rig.answer(rig.source.offer({"input": upscale}))["images"][0]) == right
    rig.fault(fault, count=2)
    assert rig.answer(rig.source.offer({"input": upscale}))["error_code"] == "wrong_result"


@pytest.mark.parametrize("how", ["killed", "drop-after", "cut-body", "not-json"])
def test_an_upscale_whose_answer_is_lost_is_asked_for_again(rig: Rig, job: dict[str, Any], how: str) -> None:
    picture = rig.run(**job)["images"][0]
    upscale = {"type": "upscale", "image": picture, "upscaler": "Lanczos", "scale": 2}
    right = pixels(rig.answer(rig.source.offer({"input": upscale}))["images"][0])
    if how == "killed":
        rig.fault("late", path="extra-single-image", seconds=2)
    else:
        rig.fault(how, path="extra-single-image")
    webui = rig.webui()
    offered = rig.source.offer({"input": upscale})
    if how == "killed":
        while not any(
            entry["path"].endswith("extra-single-image")
            for entry in requests.get(f"{rig.url}/standin/requests", timeout=10).json()[-3:]
        ):
            pass
        webui.kill()
    answer = rig.answer(offered)
    assert "error" not in answer, answer
    assert pixels(answer["images"][0]) == right


def test_health_says_what_the_worker_is_doing(rig: Rig) -> None:
    told = rig.answer(rig.source.offer({"input": {"type": "health"}}))["items"]
    assert told["status"] == "ready"
    assert told["restarts_left"] > 0
    rig.fault("slow-step", seconds=0.3)
    busy = rig.offer(steps=8)
    rig.wait_sampling()
    assert rig.answer(rig.source.offer({"input": {"type": "health"}}))["items"]["status"] == "busy"
    rig.answer(busy)


def test_a_webui_that_can_not_be_started_again_ends_the_worker_with_a_failure(tmp_path: Path) -> None:
    from tests.support.jobsource import JobSource
    from tests.support.rig import Rig as NewRig

    with JobSource(hold_s=1.0) as own, NewRig(tmp_path, own, RESTARTS="2", RERUNS="1") as rig:
        assert "error" not in rig.run()
        (tmp_path / "webui" / "launch.py").write_text("raise SystemExit('Torch is not able to use GPU')\n")
        job = rig.offer(seed=5)
        rig.answer(job)
        rig.webui().kill()
        assert rig.worker.wait() == 1
        assert "does not come back after 2 restarts" in rig.worker.log
        rig.worker.assert_nothing_left()
