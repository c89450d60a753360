"""What is done about a failed generation, decided without a WebUI."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract.budget import Size
from worker.errors import (
    DeadlineExceeded,
    GenerationStalled,
    InvalidInput,
    NanImage,
    OutOfMemory,
    WebUICrashed,
    WebUIFailed,
    WebUIUnreachable,
    WorkerError,
    WrongResult,
)
from worker.recovery.budget import Budget
from worker.recovery.memory import FRUGAL, UPCAST, Learned, batch, is_set, smaller, with_options
from worker.recovery.poison import Poison, fingerprint
from worker.recovery.policy import Care, Tries, decide, innocent
from worker.webui.body import Expectation, Request
from worker.webui.catalog import Checkpoint

MODEL = Checkpoint(title="m.safetensors", name="m", filename="/models/m.safetensors", short_hash=None)
CUDA = {"kind": "RuntimeError", "upstream": "CUDA error: an illegal memory access was encountered"}
TORN = {"kind": "SafetensorError", "upstream": "Error while deserializing header: MetadataIncompleteBuffer"}


def request(batch_size: int = 1, n_iter: int = 1, **body: Any) -> Request:
    count = batch_size * n_iter
    expect = Expectation(count, MODEL, 1, tuple(range(5, 5 + count)), size=Size(512, 512))
    return Request("/sdapi/v1/txt2img", {"seed": 5, "batch_size": batch_size, "n_iter": n_iter, **body}, expect, 20)


@pytest.mark.parametrize(
    ("error", "care", "again", "killed"),
    [
        (WebUICrashed("x"), Care.NOTHING, True, True),
        (GenerationStalled("x"), Care.NOTHING, True, True),
        (OutOfMemory("x"), Care.FREE, True, False),
        (OutOfMemory("x", details={"half_loaded": "model"}), Care.RESTART, True, True),
        (OutOfMemory("x", details={"half_loaded": "lora"}), Care.RESTART, True, True),
        (WebUIFailed("x", details={"kind": "KeyError", "half_loaded": "model"}), Care.RESTART, True, True),
        (NanImage("x"), Care.NOTHING, True, False),
        (WebUIFailed("x", details=CUDA), Care.RESTART, True, True),
        (WebUIFailed("x", details=TORN), Care.RESTART, True, True),
        (WebUIFailed("x", details={"kind": "NotJSON"}), Care.NOTHING, True, False),
        (WebUIFailed("x", details={"kind": "ValueError", "upstream": "no"}), Care.NOTHING, False, False),
        (WrongResult("x", details={"mismatches": [{"what": "model"}]}), Care.NOTHING, True, False),
        (WebUIUnreachable("x"), Care.CALM, True, False),
        (DeadlineExceeded("x"), Care.NOTHING, False, False),
        (InvalidInput.at("a", "b"), Care.NOTHING, False, False),
        (WebUICrashed("gone for good", details={"final": True}), Care.NOTHING, False, False),
    ],
)
def test_the_first_failure(error: WorkerError, care: Care, again: bool, killed: bool) -> None:  # noqa: FBT001 - a table
    action = decide(error, request(), Tries(), left_s=60)
    assert (action.care, action.again is not None, action.killed) == (care, again, killed)


@pytest.mark.parametrize(
    "kind",
    [
        "SafetensorError",
        "FileNotFoundError",
        "UnpicklingError",
        "EOFError",
        "BadZipFile",
        "OSError",
        "PermissionError",
    ],
)
def test_every_failure_to_read_a_checkpoint_leaves_a_model_that_is_not_trusted(kind: str) -> None:
    action = decide(WebUIFailed("x", details={"kind": kind, "upstream": ""}), request(), Tries(), left_s=60)
    assert (action.care, action.killed, action.again is not None) == (Care.RESTART, True, True)


@pytest.mark.parametrize("kind", ["ValueError", "KeyError", "AssertionError", "HTTPException", "TypeError"])
def test_a_failure_that_is_the_jobs_own_costs_no_restart(kind: str) -> None:
    action = decide(WebUIFailed("x", details={"kind": kind, "upstream": ""}), request(), Tries(), left_s=60)
    assert (action.care, action.killed, action.again) == (Care.NOTHING, False, None)


@pytest.mark.parametrize(("left_s", "again"), [(60.0, True), (1.5, True), (1.0, False), (0.0, False), (-5.0, False)])
def test_a_job_that_another_one_has_spoilt_is_run_again_at_no_cost_while_there_is_time(
    left_s: float,
    again: bool,  # noqa: FBT001 - a table
) -> None:
    action = innocent(request(), left_s)
    assert (action.again is not None) is again
    assert (action.counts, action.killed, action.care) == (False, False, Care.NOTHING)


def test_a_wrong_answer_that_only_the_log_tells_of_costs_no_restart() -> None:
    told = WrongResult("x", details={"mismatches": [], "log": ["Lora not found: x"]})
    assert decide(told, request(), Tries(most=3).after(told), left_s=60).care is Care.NOTHING
    seen = WrongResult("x", details={"mismatches": [{"what": "model"}]})
    assert decide(seen, request(), Tries(most=3).after(seen), left_s=60).care is Care.RESTART


@pytest.mark.parametrize(
    ("error", "care"),
    [
        (WebUICrashed("x"), Care.NOTHING),
        (GenerationStalled("x"), Care.NOTHING),
        (WebUIFailed("x", details=CUDA), Care.RESTART),
        (WebUIFailed("x", details=TORN), Care.RESTART),
        (WrongResult("x", details={"mismatches": [{"what": "model"}]}), Care.RESTART),
        (WebUIUnreachable("x"), Care.RESTART),
        (NanImage("x"), Care.NOTHING),
    ],
)
def test_the_second_failure_of_a_kind_ends_the_job_and_leaves_a_webui_to_trust(error: WorkerError, care: Care) -> None:
    action = decide(error, request(), Tries().after(error), left_s=60)
    assert action.again is None
    assert action.care is care


def test_without_time_left_nothing_is_tried_but_the_webui_is_still_cared_for() -> None:
    action = decide(WebUIFailed("x", details=CUDA), request(), Tries(), left_s=0.5)
    assert action.again is None
    assert action.care is Care.RESTART


def test_a_file_of_the_wrong_shape_is_not_loaded_twice_but_what_it_left_is_not_trusted() -> None:
    said = "Error(s) in loading state_dict for AutoencoderKL: size mismatch for decoder.conv_in.weight"
    details = {"kind": "RuntimeError", "upstream": said, "half_loaded": "vae"}
    action = decide(WebUIFailed("x", details=details), request(), Tries(), left_s=60)
    assert (action.again, action.care) == (None, Care.RESTART)


def test_what_may_not_be_run_again_is_not() -> None:
    assert decide(WebUICrashed("x"), request(), Tries(most=0), left_s=60).again is None


def test_nans_are_tried_again_in_full_precision_once() -> None:
    again = decide(NanImage("x"), request(), Tries(), left_s=60).again
    assert again is not None
    assert again.body["override_settings"] == dict(UPCAST)
    assert decide(NanImage("x"), again, Tries().after(NanImage("x")), left_s=60).again is None


@pytest.mark.parametrize(("error", "options"), [(OutOfMemory("x"), FRUGAL), (NanImage("x"), UPCAST)])
def test_what_was_planned_with_care_from_the_start_has_a_second_run_too(
    error: WorkerError, options: dict[str, Any]
) -> None:
    planned = with_options(request(), options)
    assert decide(error, planned, Tries(), left_s=60).again == planned
    assert decide(error, planned, Tries().after(error), left_s=60).again is None
    assert decide(error, planned, Tries(most=0), left_s=60).again is None


@given(batch_size=st.integers(1, 64), n_iter=st.integers(1, 8))
def test_out_of_memory_ends_after_ever_smaller_batches_of_the_same_pictures(batch_size: int, n_iter: int) -> None:
    sent: Request | None = request(batch_size, n_iter)
    tried = []
    while sent is not None:
        assert sent.body["batch_size"] * sent.body["n_iter"] == batch_size * n_iter
        assert sent.body["seed"] == 5
        tried.append((batch(sent), is_set(sent, FRUGAL)))
        sent = smaller(sent)
    assert tried[-1] == (1, True)
    assert len(tried) <= 9
    assert tried == sorted(tried, key=lambda one: (-one[0], one[1]))


def test_a_batch_that_was_too_large_is_not_tried_again_on_this_machine() -> None:
    learned = Learned()
    learned.too_large(request(8))
    assert batch(learned.plan(request(8))) == 4
    assert batch(learned.plan(request(4, 2))) == 4
    other = replace(request(8), expect=replace(request(8).expect, size=Size(256, 256)))
    assert batch(learned.plan(other)) == 8
    learned.too_large(request(2, 4))
    assert batch(learned.plan(request(8))) == 1
    assert not is_set(learned.plan(request(1)), FRUGAL)
    learned.too_large(request(1))
    assert is_set(learned.plan(request(1)), FRUGAL)


def test_a_model_that_needed_full_precision_gets_it_from_then_on() -> None:
    learned = Learned()
    learned.made(request())
    assert not is_set(learned.plan(request()), UPCAST)
    learned.made(replace(request(), body={"override_settings": dict(UPCAST)}), after_nan=True)
    assert is_set(learned.plan(request()), UPCAST)


def test_what_would_fit_is_what_was_seen_to_fit_else_a_smaller_size() -> None:
    learned = Learned()
    assert learned.fitting(request()) == {
        "batch_size": 1,
        "size": {"width": 352, "height": 352},
        "seen_to_fit": False,
    }
    small = replace(request(), expect=replace(request().expect, size=Size(384, 256)))
    learned.made(small)
    assert learned.fitting(request())["size"] == {"width": 384, "height": 256}


def test_what_worked_after_all_is_no_poison() -> None:
    poison = Poison(100, lambda: 0.0)
    poison.note("job")
    poison.forgive(["job", "never seen"])
    poison.note("job")
    assert poison.refused_for("job") == 0


def test_a_job_is_poison_after_two_kills_for_a_while_whatever_its_seed() -> None:
    now = 0.0
    poison = Poison(100, lambda: now)
    one, other = fingerprint({"prompt": "a", "seed": 1}), fingerprint({"prompt": "a", "seed": 2})
    assert one == other != fingerprint({"prompt": "b", "seed": 1})
    poison.note(one)
    assert poison.refused_for(one) == 0
    now = 10
    poison.note(other)
    assert poison.refused_for(one) == 100
    now = 60
    assert poison.refused_for(one) == 50
    now = 111
    assert poison.refused_for(one) == 0


def test_restarts_wait_longer_and_longer_until_they_are_spent_and_come_back_with_time() -> None:
    budget = Budget(4, 100)
    delays = []
    for moment in (0.0, 1.0, 2.0, 3.0):
        spent = budget.spend(moment)
        assert spent is not None
        budget = spent
        delays.append(budget.delay())
    assert delays == [0, 1, 2, 4]
    assert budget.spend(50) is None
    again = budget.spend(100.5)
    assert again is not None
    assert again.left(100.5) == 0
