"""What is done about a failed generation, decided without a WebUI."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.common.clock import running
from worker.contract.rules.sizes import Size
from worker.errors import (
    DeadlineExceeded,
    GenerationStalled,
    InvalidInput,
    ModelDamaged,
    NanImage,
    OutOfMemory,
    WebUICrashed,
    WebUIFailed,
    WebUIUnreachable,
    WorkerError,
    WrongResult,
)
from worker.recovery.failure_history import CrashBlocklist, FailureHistory, body_digest, fingerprint
from worker.recovery.failure_kinds import FailureKind, classify
from worker.recovery.oom import FRUGAL, UPCAST, LearnedLimits, batch, is_set, smaller, with_options
from worker.recovery.retry_policy import Decision, Remedy, Tries, decide, may_be_asked_again, retry_bystander
from worker.recovery.supervisor import RestartBudget, Supervisor
from worker.webui.names.catalog import Checkpoint
from worker.webui.request.body import Expectation, Request

MODEL = Checkpoint(title="m.safetensors", name="m", filename="/models/m.safetensors", short_hash=None)
CUDA = {"kind": "RuntimeError", "upstream": "CUDA error: an illegal memory access was encountered"}
TORN = {"kind": "SafetensorError", "upstream": "Error while deserializing header: MetadataIncompleteBuffer"}


def request(batch_size: int = 1, n_iter: int = 1, **body: Any) -> Request:
    count = batch_size * n_iter
    expect = Expectation(count, MODEL, 1, tuple(range(5, 5 + count)), size=Size(512, 512))
    return Request("/sdapi/v1/txt2img", {"seed": 5, "batch_size": batch_size, "n_iter": n_iter, **body}, expect, 20)


@pytest.mark.parametrize(
    ("error", "remedy", "again", "killed"),
    [
        (WebUICrashed("x"), Remedy.NOTHING, True, True),
        (GenerationStalled("x"), Remedy.NOTHING, True, True),
        (OutOfMemory("x"), Remedy.UNLOAD, True, False),
        (OutOfMemory("x", details={"half_loaded": "model"}), Remedy.RESTART, True, True),
        (OutOfMemory("x", details={"half_loaded": "lora"}), Remedy.RESTART, True, True),
        (WebUIFailed("x", details={"kind": "KeyError", "half_loaded": "model"}), Remedy.RESTART, True, True),
        (NanImage("x"), Remedy.NOTHING, True, False),
        (WebUIFailed("x", details=CUDA), Remedy.RESTART, True, True),
        (WebUIFailed("x", details=TORN), Remedy.RESTART, True, True),
        (WebUIFailed("x", details={"kind": "NotJSON"}), Remedy.NOTHING, True, False),
        (WebUIFailed("x", details={"kind": "ValueError", "upstream": "no"}), Remedy.NOTHING, False, False),
        (WrongResult("x", details={"mismatches": [{"what": "model"}]}), Remedy.NOTHING, True, False),
        (WebUIUnreachable("x"), Remedy.INTERRUPT, True, False),
        (DeadlineExceeded("x"), Remedy.NOTHING, False, False),
        (InvalidInput.at("a", "b"), Remedy.NOTHING, False, False),
        (WebUICrashed("gone for good", details={"final": True}), Remedy.NOTHING, False, False),
    ],
)
def test_the_first_failure(
    error: WorkerError,
    remedy: Remedy,
    again: bool,  # noqa: FBT001 - a table
    killed: bool,  # noqa: FBT001 - a table
) -> None:
    decision = decide(classify(error), request(), Tries(), left_s=60)
    assert (decision.remedy, decision.again is not None, decision.killed) == (remedy, again, killed)


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
    decision = decide(classify(WebUIFailed("x", details={"kind": kind, "upstream": ""})), request(), Tries(), left_s=60)
    assert (decision.remedy, decision.killed, decision.again is not None) == (Remedy.RESTART, True, True)


@pytest.mark.parametrize("kind", ["ValueError", "KeyError", "AssertionError", "HTTPException", "TypeError"])
def test_a_failure_that_is_the_jobs_own_costs_no_restart(kind: str) -> None:
    decision = decide(classify(WebUIFailed("x", details={"kind": kind, "upstream": ""})), request(), Tries(), left_s=60)
    assert (decision.remedy, decision.killed, decision.again) == (Remedy.NOTHING, False, None)


@pytest.mark.parametrize(("left_s", "again"), [(60.0, True), (1.5, True), (1.0, False), (0.0, False), (-5.0, False)])
def test_a_job_that_another_one_has_spoilt_is_run_again_at_no_cost_while_there_is_time(
    left_s: float,
    again: bool,  # noqa: FBT001 - a table
) -> None:
    decision = retry_bystander(request(), left_s)
    assert (decision.again is not None) is again
    assert (decision.counts, decision.killed, decision.remedy) == (False, False, Remedy.NOTHING)


def test_a_wrong_answer_that_only_the_log_tells_of_costs_no_restart() -> None:
    told = WrongResult("x", details={"mismatches": [], "log": ["Lora not found: x"]})
    assert decide(classify(told), request(), Tries(most=3).after(classify(told)), left_s=60).remedy is Remedy.NOTHING
    seen = WrongResult("x", details={"mismatches": [{"what": "model"}]})
    assert decide(classify(seen), request(), Tries(most=3).after(classify(seen)), left_s=60).remedy is Remedy.RESTART


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (WebUICrashed("x"), Remedy.NOTHING),
        (GenerationStalled("x"), Remedy.NOTHING),
        (WebUIFailed("x", details=CUDA), Remedy.RESTART),
        (WebUIFailed("x", details=TORN), Remedy.RESTART),
        (WrongResult("x", details={"mismatches": [{"what": "model"}]}), Remedy.RESTART),
        (WebUIUnreachable("x"), Remedy.RESTART),
        (NanImage("x"), Remedy.NOTHING),
    ],
)
def test_the_second_failure_of_a_kind_ends_the_job_and_leaves_a_webui_to_trust(
    error: WorkerError, remedy: Remedy
) -> None:
    decision = decide(classify(error), request(), Tries().after(classify(error)), left_s=60)
    assert decision.again is None
    assert decision.remedy is remedy


def test_without_time_left_nothing_is_tried_but_the_webui_is_still_cared_for() -> None:
    decision = decide(classify(WebUIFailed("x", details=CUDA)), request(), Tries(), left_s=0.5)
    assert decision.again is None
    assert decision.remedy is Remedy.RESTART


def test_a_file_of_the_wrong_shape_is_not_loaded_twice_but_what_it_left_is_not_trusted() -> None:
    said = "Error(s) in loading state_dict for AutoencoderKL: size mismatch for decoder.conv_in.weight"
    details = {"kind": "RuntimeError", "upstream": said, "half_loaded": "vae"}
    decision = decide(classify(WebUIFailed("x", details=details)), request(), Tries(), left_s=60)
    assert (decision.again, decision.remedy) == (None, Remedy.RESTART)


def test_what_may_not_be_run_again_is_not() -> None:
    assert decide(classify(WebUICrashed("x")), request(), Tries(most=0), left_s=60).again is None


def test_nans_are_tried_again_in_full_precision_once() -> None:
    again = decide(classify(NanImage("x")), request(), Tries(), left_s=60).again
    assert again is not None
    assert again.body["override_settings"] == dict(UPCAST)
    assert decide(classify(NanImage("x")), again, Tries().after(classify(NanImage("x"))), left_s=60).again is None


@pytest.mark.parametrize(("error", "options"), [(OutOfMemory("x"), FRUGAL), (NanImage("x"), UPCAST)])
def test_what_was_planned_with_care_from_the_start_has_a_second_run_too(
    error: WorkerError, options: dict[str, Any]
) -> None:
    planned = with_options(request(), options)
    assert decide(classify(error), planned, Tries(), left_s=60).again == planned
    assert decide(classify(error), planned, Tries().after(classify(error)), left_s=60).again is None
    assert decide(classify(error), planned, Tries(most=0), left_s=60).again is None


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
    learned = LearnedLimits()
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
    learned = LearnedLimits()
    learned.made(request())
    assert not is_set(learned.plan(request()), UPCAST)
    learned.made(replace(request(), body={"override_settings": dict(UPCAST)}), after_nan=True)
    assert is_set(learned.plan(request()), UPCAST)


def test_what_would_fit_is_what_was_seen_to_fit_else_a_smaller_size() -> None:
    learned = LearnedLimits()
    assert learned.fitting(request()) == {
        "batch_size": 1,
        "size": {"width": 352, "height": 352},
        "seen_to_fit": False,
    }
    small = replace(request(), expect=replace(request().expect, size=Size(384, 256)))
    learned.made(small)
    assert learned.fitting(request())["size"] == {"width": 384, "height": 256}


def test_what_worked_after_all_is_no_poison() -> None:
    blocklist = CrashBlocklist(100, lambda: 0.0)
    blocklist.note("job")
    blocklist.forgive(["job", "never seen"])
    blocklist.note("job")
    assert blocklist.blocked_for("job") == 0


def test_a_job_is_poison_after_two_kills_for_a_while_whatever_its_seed() -> None:
    now = 0.0
    blocklist = CrashBlocklist(100, lambda: now)
    one, other = body_digest({"prompt": "a", "seed": 1}), body_digest({"prompt": "a", "seed": 2})
    assert one == other != body_digest({"prompt": "b", "seed": 1})
    blocklist.note(one)
    assert blocklist.blocked_for(one) == 0
    now = 10
    blocklist.note(other)
    assert blocklist.blocked_for(one) == 100
    now = 60
    assert blocklist.blocked_for(one) == 50
    now = 111
    assert blocklist.blocked_for(one) == 0


def test_restarts_wait_longer_and_longer_until_they_are_spent_and_come_back_with_time() -> None:
    budget = RestartBudget(4, 100)
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


def failed(history: FailureHistory, error: WorkerError, sent: Request, *, started_with: bool = False) -> Decision:
    """Record the first failure of `sent` and return the decision on it."""
    failure = classify(error)
    decision = decide(failure, sent, Tries(), left_s=60)
    history.failed(failure, fingerprint(sent), sent, decision, started_with=started_with)
    return decision


def refused(history: FailureHistory, wanted: Request) -> bool:
    try:
        history.plan(wanted, fingerprint(wanted))
    except WebUICrashed as error:
        return bool(error.details["poison"])
    return False


def test_two_crashes_of_a_job_block_it_and_no_other_of_its_checkpoint() -> None:
    history = FailureHistory(100, lambda: 0.0)
    failed(history, WebUICrashed("x"), request())
    assert not refused(history, request())
    failed(history, WebUICrashed("x"), request())
    assert refused(history, request())
    assert not refused(history, request(prompt="another"))


def test_a_checkpoint_that_can_not_be_loaded_twice_is_blocked_for_every_job_unless_the_webui_started_with_it() -> None:
    history = FailureHistory(100, lambda: 0.0)
    for _ in range(2):
        failed(history, WebUIFailed("x", details=TORN), request(), started_with=True)
    assert not refused(history, request(prompt="another"))
    for _ in range(2):
        failed(history, WebUIFailed("x", details=TORN), request())
    assert refused(history, request(prompt="another"))


def test_a_vae_that_can_not_be_loaded_twice_is_blocked_with_its_checkpoint_and_no_other_vae_is() -> None:
    history = FailureHistory(100, lambda: 0.0)
    bad = replace(request(), expect=replace(request().expect, vae="bad.safetensors"))
    for _ in range(2):
        failed(history, WebUIFailed("x", details={"half_loaded": "vae"}), bad)
    assert refused(history, replace(bad, body={"prompt": "another"}))
    assert not refused(history, request(prompt="another"))


def test_a_job_that_worked_after_all_is_not_blocked() -> None:
    history = FailureHistory(100, lambda: 0.0)
    failed(history, WebUICrashed("x"), request())
    history.succeeded(fingerprint(request()), request(), Tries())
    failed(history, WebUICrashed("x"), request())
    assert not refused(history, request())


def test_a_batch_that_did_not_fit_is_planned_smaller_and_the_last_error_says_what_would_fit() -> None:
    history = FailureHistory(100, lambda: 0.0)
    error = OutOfMemory("x")
    failed(history, error, request(8))
    assert batch(history.plan(request(8), fingerprint(request(8)))) == 4
    told = history.final_error(classify(error), request(8), Tries().after(classify(error)))
    assert told.details["would_fit"]["batch_size"] == 1
    assert told.details["failed_before"] == {"out_of_memory": 1}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WrongResult("x", details={"mismatches": []}), FailureKind.INTERRUPTED),
        (WrongResult("x"), FailureKind.WRONG_RESULT),
        (WebUIFailed("x", details={"kind": "NotJSON"}), FailureKind.GARBLED),
        *(
            (WebUIFailed("x", details={"kind": "", "status": status}), FailureKind.CONNECTION_LOST)
            for status in (502, 503, 504)
        ),
        (WebUIFailed("x", details={"kind": "RuntimeError", "status": 503}), FailureKind.OTHER),
        (WebUIFailed("x", details={"kind": "", "status": 500}), FailureKind.OTHER),
        *(
            (WebUIFailed("x", details={"kind": kind}), FailureKind.CHECKPOINT_LOAD)
            for kind in (
                "SafetensorError",
                "FileNotFoundError",
                "UnpicklingError",
                "EOFError",
                "BadZipFile",
                "OSError",
                "PermissionError",
            )
        ),
        (NanImage("x", details={"half_loaded": "model"}), FailureKind.CHECKPOINT_LOAD),
        (OutOfMemory("x", details={"half_loaded": "vae"}), FailureKind.VAE_LOAD),
        (OutOfMemory("x", details={"half_loaded": "lora"}), FailureKind.BROKEN_PROCESS),
        (InvalidInput.at("a", "b"), FailureKind.OTHER),
    ],
)
def test_a_failure_has_one_kind(error: WorkerError, kind: FailureKind) -> None:
    assert classify(error).kind is kind


def test_an_interrupt_by_somebody_else_never_costs_a_restart_and_a_garbled_answer_does_the_second_time() -> None:
    interrupted = classify(WrongResult("x", details={"mismatches": []}))
    garbled = classify(WebUIFailed("x", details={"kind": "NotJSON"}))
    assert decide(interrupted, request(), Tries().after(interrupted), left_s=60).remedy is Remedy.NOTHING
    assert decide(garbled, request(), Tries().after(garbled), left_s=60).remedy is Remedy.RESTART


def test_a_bystander_is_run_again_uncounted_while_there_is_time() -> None:
    decision = retry_bystander(request(), left_s=60)
    assert (decision.again, decision.remedy, decision.counts) == (request(), Remedy.NOTHING, False)
    assert retry_bystander(request(), left_s=0.5).again is None


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (WebUICrashed("x"), True),
        (WebUIUnreachable("x"), True),
        (OutOfMemory("x"), True),
        (WrongResult("x"), True),
        (WebUIFailed("x", details=CUDA), True),
        (WebUIFailed("x", details={"kind": "NotJSON"}), True),
        (WebUIFailed("x", details={"kind": "ValueError"}), False),
        (WebUICrashed("x", details={"final": True}), False),
        (InvalidInput.at("a", "b"), False),
    ],
)
def test_what_makes_no_picture_by_diffusion_is_asked_for_again_where_that_may_help(
    error: WorkerError,
    again: bool,  # noqa: FBT001 - a table
) -> None:
    assert may_be_asked_again(classify(error)) is again


WRONG_FILE = WebUIFailed(
    "x",
    details={
        "kind": "RuntimeError",
        "half_loaded": "model",
        "upstream": "Error(s) in loading state_dict for LatentDiffusion:\n" + "size mismatch " * 10_000,
    },
)


def test_a_checkpoint_that_can_not_be_loaded_is_refused_at_once_from_then_on() -> None:
    history = FailureHistory(100, lambda: 0.0)
    sent = request()
    decision = failed(history, WRONG_FILE, sent)
    assert decision.again is None
    told = history.final_error(classify(WRONG_FILE), sent, Tries())
    assert isinstance(told, ModelDamaged)
    assert len(told.message) < 600
    with pytest.raises(ModelDamaged, match="can't load what the job needs"):
        history.plan(replace(sent, body={**sent.body, "prompt": "another"}), fingerprint(sent))


def test_a_checkpoint_that_the_webui_started_with_is_never_refused() -> None:
    history = FailureHistory(100, lambda: 0.0)
    failed(history, WRONG_FILE, request(), started_with=True)
    history.plan(request(), fingerprint(request()))


@pytest.mark.parametrize("other", ["refiner_checkpoint", "hr_checkpoint_name", "script_name"])
def test_a_checkpoint_is_not_blamed_for_another_one_of_its_job(other: str) -> None:
    history = FailureHistory(100, lambda: 0.0)
    sent = request()
    failed(history, WRONG_FILE, replace(sent, body={**sent.body, other: "bad"}))
    history.plan(request(prompt="another"), fingerprint(request(prompt="another")))


class _Endless:
    """A program that comes back each time."""

    def __init__(self) -> None:
        self.spawned = threading.Semaphore(0)

    def spawn(self) -> None: ...
    def wait_ready(self) -> None:
        self.spawned.release()

    def stop(self, grace: float = 0.0) -> None: ...
    def close(self) -> None: ...
    def ended(self) -> str | None:
        return None

    def tail(self) -> list[str]:
        return []

    def patience(self) -> float | None:
        return None


def test_restarts_for_a_jobs_own_model_do_not_end_the_worker() -> None:
    program = _Endless()
    supervisor = Supervisor(program, budget=RestartBudget(1, 1000.0))
    supervisor.wait_ready()
    assert program.spawned.acquire(timeout=5)
    for _ in range(5):
        supervisor.excuse_restart()
        supervisor.lost("Error(s) in loading state_dict " + "x" * 100_000)
        asyncio.run(supervisor.wait_up(running() + 10))
    health = supervisor.health()
    assert (health["restarts"], health["restarts_left"]) == (5, 1)
    assert len(health["last_error"]) < 600
    supervisor.close()
