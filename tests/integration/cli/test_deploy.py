"""`worker deploy` against a loopback imitation of RunPod's REST API v2."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.loopback_http import Reply, Server, serve
from tests.support.servers.fake_runpod import Account, problem_reply
from worker.cli.deploy.rest import Rest, RestFailed, rate_limit_wait
from worker.cli.deploy.workers import GRACE_S, follow
from worker.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.loopback_http import Request

ROOT = Path(__file__).resolve().parents[3]
KEY = "rpa_sesame"
CASES = ["sd15", "sdxl", "throughput", "low-cost"]


@pytest.fixture(autouse=True)
def _own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "200")


@contextmanager
def runpod() -> Iterator[tuple[Account, Server]]:
    account = Account(KEY)
    with serve(account.answer) as server:
        yield account, server


def run(server: Server | None, *arguments: str) -> int:
    api = [] if server is None else ["--api", f"{server.url}/v2"]
    return main(["deploy", "--image", "me/worker:1", *api, *arguments])


def changes(server: Server) -> list[str]:
    return [f"{request.method} {request.path}" for request in server.seen if request.method != "GET"]


def bodies(server: Server) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in server.seen if request.method in {"POST", "PATCH"}]


def plain(text: str) -> str:
    """The words of a framed message."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("preset", CASES)
def test_every_preset_is_taken_by_the_published_schema(preset: str) -> None:
    with runpod() as (account, server):
        assert run(server, "--preset", preset, "--yes") == 0
    endpoint = account.endpoints["e1"]
    assert (endpoint["type"], endpoint["flashboot"], endpoint["timeout"]) == ("QUEUE", "FLASHBOOT", 660_000)
    assert not [name for name in endpoint["gpu"]["pools"] if name.startswith("BLACKWELL")]


@pytest.mark.parametrize("preset", CASES)
def test_a_load_balancing_endpoint_is_made(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (account, server):
        assert run(server, "--type", "load-balancer", "--preset", preset, "--yes") == 0
    assert account.endpoints["e1"]["type"] == "LOAD_BALANCER"
    assert "https://e1.api.runpod.ai" in capsys.readouterr().out


def test_blackwell_cards_of_the_pools_are_excluded_for_the_default_image() -> None:
    with runpod() as (account, server):
        assert run(server, "--preset", "sdxl", "--yes") == 0
    assert {"NVIDIA RTX PRO 6000 MIG 24GB", "NVIDIA RTX PRO 5000 Blackwell"} <= set(account.excluded("e1"))


def test_an_endpoint_with_a_volume_comes_into_being(capsys: pytest.CaptureFixture[str]) -> None:
    volume = ["--volume-gb", "50", "--data-center", "EU-RO-1", "--volume-type", "high-performance"]
    with runpod() as (account, server):
        assert run(server, "--preset", "sdxl", *volume, "--yes") == 0
    assert changes(server) == ["POST /v2/network-volumes", "POST /v2/serverless"]
    endpoint = account.endpoints["e1"]
    assert (endpoint["networkVolumes"], endpoint["dataCenterIds"]) == (["v1"], ["EU-RO-1"])
    assert endpoint["env"]["DEFAULT_CHECKPOINT"].startswith("Jib Mix")
    assert account.volumes["v1"]["type"] == "HIGH_PERFORMANCE"
    assert "https://api.runpod.ai/v2/e1/run" in capsys.readouterr().out


@pytest.mark.parametrize("told", [True, False])
def test_the_second_time_there_is_nothing_to_do(told: bool, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: FBT001 - a parameter
    with runpod() as (account, server):
        account.tells_exclusions = told
        assert run(server, "--yes") == 0
        before = changes(server)
        assert run(server) == 0
        assert changes(server) == before
    assert "= keep endpoint a1111-worker (e1)" in capsys.readouterr().out


def test_a_new_image_rolls_out_on_the_endpoint_and_keeps_the_exclusions() -> None:
    with runpod() as (account, server):
        run(server, "--yes")
        excluded = account.excluded("e1")
        assert excluded
        assert run(server, "--image", "me/worker:2", "--yes") == 0
        assert changes(server)[1:] == ["PATCH /v2/serverless/e1"]
        assert account.excluded("e1") == excluded
    assert account.endpoints["e1"]["image"] == "me/worker:2"
    assert set(bodies(server)[-1]) == {"image", "gpu"}


def test_a_dry_run_changes_nothing_and_hides_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (_, server):
        assert run(server, "--dry-run", "--env", "HF_TOKEN=hf_sesame", "--env", "LOG_LEVEL=debug") == 0
        assert changes(server) == []
    out = capsys.readouterr().out
    assert "+ create endpoint a1111-worker" in out
    assert "LOG_LEVEL=debug" in out
    assert "sesame" not in out


def test_a_reference_to_a_secret_of_runpod_is_passed_on() -> None:
    reference = "{{ RUNPOD_SECRET_civitai }}"
    with runpod() as (account, server):
        assert run(server, "--yes", "--env", f"CIVITAI_API_KEY={reference}") == 0
    assert account.endpoints["e1"]["env"]["CIVITAI_API_KEY"] == reference


@pytest.mark.parametrize("preset", CASES)
def test_a_dry_run_needs_no_account(
    preset: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY")
    assert run(None, "--dry-run", "--preset", preset) == 0
    out = capsys.readouterr().out
    assert "+ create endpoint a1111-worker" in out
    assert "flashboot: FLASHBOOT" in out


@pytest.mark.parametrize(("answer", "code", "calls"), [("y", 0, 1), ("n", 1, 0), ("", 1, 0)])
def test_on_a_terminal_it_asks(answer: str, code: int, calls: int) -> None:
    with runpod() as (_, server):
        terminal, mine = pty.openpty()
        os.write(terminal, f"{answer}\n".encode())
        done = subprocess.run(
            [sys.executable, "-m", "worker", "deploy", "--image", "me/worker:1", "--api", f"{server.url}/v2"],
            cwd=ROOT,
            stdin=mine,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        os.close(terminal)
        os.close(mine)
        assert (done.returncode, len(changes(server))) == (code, calls), done.stderr


def test_without_a_terminal_it_does_nothing_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (_, server):
        assert run(server) == 2
        assert changes(server) == []
    assert "--yes" in capsys.readouterr().err


def test_variables_that_the_worker_does_not_know_are_sent_too() -> None:
    with runpod() as (account, server):
        assert run(server, "--yes", "--env", "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True") == 0
    assert account.endpoints["e1"]["env"]["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"


@pytest.mark.parametrize(("reply", "sent"), [("y", True), ("n", False)])
def test_a_name_that_is_nearly_one_of_the_worker_s_is_asked_about(
    reply: str,
    sent: bool,  # noqa: FBT001 - a parameter of the table
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", Typed(f"{reply}\n"))
    with runpod() as (_, server):
        assert run(server, "--dry-run", "--env", "LOG_LVEL=debug") == (0 if sent else 1)
    seen = capsys.readouterr().out
    assert "did you mean LOG_LEVEL?" in seen
    assert ("LOG_LVEL=debug" in seen) is sent


class Typed(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "LOG_LVEL=debug"], "LOG_LEVEL?"),
        (["--env", "CONCURRENCY=99"], "CONCURRENCY='99'"),
        (["--env", "LOG_LEVEL"], "NAME=VALUE"),
        (["--env", "MY-OWN=1"], "letters, digits and _"),
        (["--volume-gb", "20"], "--data-center"),
        (["--volume-type", "standard"], "--volume-gb"),
        (["--workers-min", "9"], "--workers-min"),
        (["--env", "HF_TOKEN=“x”"], "ASCII"),
        (["--idle-timeout", "9", "--preset", "throughput"], "--idle-timeout"),
        (["--dry-run"], "exclude each other"),
    ],
)
def test_mistakes_are_found_before_runpod_is_asked(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with runpod() as (_, server):
        assert run(server, "--yes", *arguments) == 2
        assert server.seen == []
    assert said in plain(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--volume-gb", "0"),
        ("--volume-gb", "-5"),
        ("--volume-gb", "4097"),
        ("--workers-max", "0"),
        ("--workers-min", "-1"),
        ("--idle-timeout", "0"),
        ("--disk-gb", "many"),
        ("--image", ""),
        ("--image", "me/worker 1"),
        ("--name", ""),
        ("--preset", "sdxxl"),
        ("--type", "pod"),
    ],
)
def test_values_that_can_not_be_meant_are_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (_, server):
        assert run(server, "--yes", f"{option}={value}") == 2
        assert server.seen == []
    assert option in capsys.readouterr().err


def test_a_gpu_that_is_not_offered_is_told_with_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (account, server):
        assert run(server, "--yes", "--gpu", "NVIDIA L44", "--gpu", "NVIDIA L40") == 0
    assert "NVIDIA L44 is no GPU type or pool that RunPod offers; NVIDIA L4?" in capsys.readouterr().err
    assert account.endpoints["e1"]["gpu"]["pools"] == ["ADA_48_PRO"]


def test_gpus_that_only_the_account_s_catalogue_knows_can_be_asked_for() -> None:
    with runpod() as (account, server):
        assert run(server, "--yes", "--gpu", "NVIDIA RTX PRO 5000 Blackwell", "--cuda", "cu128") == 0
    assert account.endpoints["e1"]["gpu"]["minCudaVersion"] == "12.8"


def test_questions_are_patient_and_changes_are_sent_once(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (account, server):
        busy = [Reply(429, headers={"Retry-After": "0"}), Reply(503)]
        server._script = lambda request: busy.pop(0) if busy else account.answer(request)
        assert run(server, "--yes") == 0
        server._script = lambda request: account.answer(request) if request.method == "GET" else Reply(429)
        assert run(server, "--yes", "--name", "other") == 1
        assert changes(server) == ["POST /v2/serverless"] * 2
    assert "429" in capsys.readouterr().err


def test_what_was_made_before_a_failure_is_used_the_next_time() -> None:
    volume = ["--volume-gb", "50", "--data-center", "EU-RO-1"]
    with runpod() as (account, server):
        server._script = lambda request: (
            Reply(500) if request.path.endswith("serverless") and request.method == "POST" else account.answer(request)
        )
        assert run(server, *volume, "--yes") == 1
        server._script = account.answer
        assert run(server, *volume, "--yes") == 0
    assert list(account.volumes) == ["v1"]
    assert account.endpoints["e1"]["networkVolumes"] == ["v1"]


def test_a_key_that_can_not_be_one_and_an_account_out_of_reach(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with runpod() as (_, server):
        monkeypatch.setenv("RUNPOD_API_KEY", "rpa_“x”")
        assert run(server, "--yes") == 2
        assert server.seen == []
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    assert run(server, "--yes") == 1
    assert "can't be reached" in capsys.readouterr().err


def test_a_key_that_is_not_accepted_is_named_but_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_wrong")
    with runpod() as (_, server):
        assert run(server, "--yes") == 1
    error = capsys.readouterr().err
    assert "RUNPOD_API_KEY" in error
    assert "rpa_wrong" not in error


def told(script: Callable[[Request], Reply]) -> str:
    with serve(script) as server, pytest.raises(RestFailed) as caught:
        Rest(KEY, f"{server.url}/v2", sleep=lambda _: None).items("serverless")
    return str(caught.value)


def test_a_problem_is_told_in_its_own_words() -> None:
    said = told(lambda _: problem_reply(422, "body is not valid", ["$: additional properties 'x' not allowed"]))
    assert "422 Unprocessable" in said
    assert "body is not valid [$: additional properties 'x' not allowed]" in said


def test_a_missing_right_is_no_wrong_key() -> None:
    wrong = told(lambda _: problem_reply(401, "invalid API key"))
    lacking = told(lambda _: problem_reply(403, "access denied: serverless write"))
    assert "expired" in wrong
    assert "access denied: serverless write" in lacking
    assert "lacks the right" in lacking
    assert "expired" not in lacking


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(403, b"error code: 1010"), "a proxy or firewall"),
        (Reply(404, b"404 page not found"), "API v2?"),
        (Reply(410, b"gone"), "has ended"),
        (Reply(301, headers={"Location": "https://docs.example.com"}), "redirect to https://docs.example.com"),
        (Reply(200, b"[]", {"Content-Type": "application/json"}), "'endpoints'"),
        (Reply(200, b"<html>"), "not JSON"),
        (Reply(200, b"[" * 100_000, {"Content-Type": "application/json"}), "not JSON"),
        (Reply(200, b'{"endpoints": [null]}'), "item 0 is not as RunPod's schema has it"),
        (Reply(200, b'{"endpoints": [{"name": "a"}]}'), "item 0.id is not as RunPod's schema has it"),
        (Reply(200, b'{"endpoints": [{"id": "a", "gpu": "L4"}]}'), "item 0.gpu is not as RunPod's schema has it"),
        (Reply(502, b"<html>Bad gateway</html>"), "502: <html>Bad gateway"),
    ],
)
def test_an_api_that_is_not_v2_is_told_as_such(reply: Reply, said: str) -> None:
    assert said in told(lambda _: reply)


def test_the_longest_empty_window_of_the_rate_limit_counts() -> None:
    limit = '"minute";r=0;t=3, "hour";r=0;t=1724, "day";r=100;t=80000'
    assert rate_limit_wait({"Retry-After": "3", "RateLimit": limit}) == 1724
    assert rate_limit_wait({"Retry-After": "7", "RateLimit": '"minute";r=5;t=30'}) == 7
    said = told(lambda _: problem_reply(429, "too many requests", (), {"Retry-After": "3", "RateLimit": limit}))
    assert "lifted in 1724 s" in said


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 1e6, 1e9),
        ({"Retry-After": "9" * 400}, 1e6, 1e9),
        ({"RateLimit": f'"minute";r=0;t={"9" * 400}'}, 1e6, 1e9),
        ({"Retry-After": "soon", "RateLimit": "?"}, 1, 30),
    ],
)
def test_a_rate_limit_of_any_words_is_a_finite_wait(headers: dict[str, str], least: float, most: float) -> None:
    assert least < rate_limit_wait(headers) < most


@pytest.mark.parametrize(
    ("errors", "told"), [("no list", "[no list]"), ({"disk": ["too small"]}, "'disk'"), (7, "[7]")]
)
def test_the_errors_of_a_problem_are_told_whatever_their_form(errors: Any, told: str) -> None:
    body = json.dumps({"title": "Wrong", "errors": errors}).encode()
    with serve(lambda _: Reply(422, body, {"Content-Type": "application/problem+json"})) as server:
        rest = Rest(KEY, f"{server.url}/v2", sleep=lambda _: None)
        with pytest.raises(RestFailed) as caught:
            rest.items("serverless")
    assert told in str(caught.value)


def test_what_a_server_says_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(lambda _: problem_reply(400, "\x1b[2Jcleared\x07\x9b31m \u202edlo")) as server:
        assert run(server, "--yes") == 1
    said = capsys.readouterr().err
    assert "cleared" in said
    assert all(letter.isprintable() or letter == "\n" for letter in said)


def test_a_short_limit_is_waited_for() -> None:
    slept: list[float] = []
    account = Account(KEY)
    busy = [problem_reply(429, "slow down", (), {"RateLimit": '"minute";r=0;t=12'})]
    with serve(lambda request: busy.pop() if busy else account.answer(request)) as server:
        assert Rest(KEY, f"{server.url}/v2", sleep=slept.append).items("serverless") == []
    assert slept == [12]


def test_the_program_names_itself() -> None:
    with runpod() as (_, server):
        Rest(KEY, f"{server.url}/v2").items("serverless")
    assert server.seen[0].headers["user-agent"].startswith("a1111-worker/")


@contextmanager
def watched(states: list[list[dict[str, Any]]]) -> Iterator[tuple[Account, Callable[..., bool], list[str]]]:
    """An endpoint whose workers go through `states`, and a clock that only waiting moves."""
    said: list[str] = []
    clock = [0.0]
    with runpod() as (account, server):
        assert run(server, "--yes", "--wait", "0") == 0

        def sleep(seconds: float) -> None:
            clock[0] += seconds
            if states:
                account.workers["e1"] = states.pop(0)

        account.workers["e1"] = states.pop(0)
        rest = Rest(KEY, f"{server.url}/v2")

        def watch(wait_s: float = 900) -> bool:
            return follow(rest, "e1", wait_s=wait_s, say=said.append, now=lambda: clock[0], sleep=sleep)

        yield account, watch, said


def worker_state(status: str, identity: str = "w1", **more: Any) -> dict[str, Any]:
    return {"id": identity, "status": status, "isStale": False, **more}


def test_workers_are_followed_until_one_of_the_new_release_is_ready() -> None:
    old = worker_state("RUNNING", "w0", isStale=True)
    states = [[old], [old, worker_state("INITIALIZING")], [old, worker_state("INITIALIZING")], [worker_state("IDLE")]]
    with watched(states) as (_, watch, said):
        assert watch() is True
    assert [line.splitlines()[0] for line in said] == [
        "workers: 1 of an older release",
        "workers: 1 initializing, 1 of an older release",
        "workers: 1 idle",
    ]


def test_a_worker_that_does_not_come_up_is_told_with_the_end_of_its_log() -> None:
    with watched([[worker_state("INITIALIZING")], [worker_state("UNHEALTHY")]]) as (account, watch, said):
        account.logs["w1"] = ["starting", "no CUDA here"]
        assert watch() is False
    assert said[-1] == "  no CUDA here"


def test_waiting_for_capacity_is_told_and_ends() -> None:
    with watched([[worker_state("THROTTLED")]]) as (account, watch, said):
        account.logs["w1"] = []
        assert watch(wait_s=60) is False
    assert "waits for capacity" in said[0]
    assert any("no worker is ready after 60 s" in line for line in said)


def test_an_endpoint_without_a_worker_waits_for_its_first_job() -> None:
    with watched([[]]) as (_, watch, said):
        assert watch() is True
    assert said == ["workers: none", "no worker runs yet; the first job starts one"]
    assert GRACE_S < 900


def test_status_shows_an_endpoint_and_its_workers(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (account, server):
        run(server, "--yes")
        account.workers["e1"] = [worker_state("RUNNING", gpuTypeId="NVIDIA L4", uptimeSeconds=30)]
        assert main(["deploy", "--api", f"{server.url}/v2", "status"]) == 0
        assert main(["deploy", "--api", f"{server.url}/v2", "status", "--name", "other"]) == 1
    captured = capsys.readouterr()
    assert "w1: running, NVIDIA L4, up 30 s" in captured.out
    assert "https://api.runpod.ai/v2/e1/run" in captured.out
    assert "no endpoint is called 'other'" in captured.err


def test_status_tells_that_runpod_has_set_the_workers_to_none(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (account, server):
        run(server, "--yes")
        account.workers["e1"], account.endpoints["e1"]["workers"]["max"] = [], 0
        assert main(["deploy", "--api", f"{server.url}/v2", "status"]) == 1
        assert "after 7" in capsys.readouterr().err
        assert run(server, "--yes", "--wait", "0") == 0
    assert account.endpoints["e1"]["workers"]["max"] == 3


def test_an_endpoint_is_deleted_once_it_is_confirmed_and_its_volume_stays(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (account, server):
        run(server, "--volume-gb", "50", "--data-center", "EU-RO-1", "--yes")
        delete = ["deploy", "--api", f"{server.url}/v2", "--delete"]
        assert main([*delete, "--dry-run"]) == 0
        assert main(delete) == 2
        assert list(account.endpoints) == ["e1"]
        assert main([*delete, "--yes"]) == 0
        assert main([*delete, "--yes"]) == 0
    assert (account.endpoints, list(account.volumes)) == ({}, ["v1"])
    assert "keep volume v1" in capsys.readouterr().out
