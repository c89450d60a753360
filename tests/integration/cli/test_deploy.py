"""`python -m worker deploy` against a loopback imitation of RunPod's REST API."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.fake_runpod import Account
from tests.support.loopback_http import Reply, Server, serve
from worker.cli import deploy

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "rpa_sesame"


@contextmanager
def runpod() -> Iterator[tuple[Account, Server]]:
    account = Account(KEY)
    with serve(account.answer) as server:
        yield account, server


def run(server: Server | None, *arguments: str, key: str = KEY, answer: str | None = None) -> int:
    api = [] if server is None else ["--api", f"{server.url}/v1"]
    return deploy.main(
        ["--image", "me/worker:1", *api, *arguments],
        environment={"RUNPOD_API_KEY": key} if key else {},
        ask=lambda _: answer or "",
        tty=answer is not None,
    )


def changes(server: Server) -> list[str]:
    return [f"{request.method} {request.path}" for request in server.seen if request.method != "GET"]


def test_an_endpoint_with_a_volume_comes_into_being(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (account, server):
        assert run(server, "--preset", "sdxl", "--volume-gb", "50", "--data-center", "EU-RO-1", "--yes") == 0
    assert changes(server) == ["POST /v1/networkvolumes", "POST /v1/templates", "POST /v1/endpoints"]
    endpoint = account.things["endpoints"]["e1"]
    assert (endpoint["templateId"], endpoint["networkVolumeId"]) == ("t1", "n1")
    assert endpoint["dataCenterIds"] == ["EU-RO-1"]
    assert endpoint["executionTimeoutMs"] == 660_000
    template = account.things["templates"]["t1"]
    assert template["env"]["DEFAULT_CHECKPOINT"].startswith("Jib Mix")
    assert template["isServerless"] is True
    assert "https://api.runpod.ai/v2/e1/run" in capsys.readouterr().out


def test_the_second_time_there_is_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (_, server):
        assert run(server, "--yes") == 0
        before = changes(server)
        assert run(server) == 0
        assert changes(server) == before
    assert "= keep endpoint a1111-worker (e1)" in capsys.readouterr().out


def test_a_new_image_changes_the_template_alone() -> None:
    with runpod() as (account, server):
        run(server, "--yes")
        assert run(server, "--image", "me/worker:2", "--yes") == 0
        assert changes(server)[2:] == ["PATCH /v1/templates/t1"]
    assert account.things["templates"]["t1"]["imageName"] == "me/worker:2"


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
    assert account.things["templates"]["t1"]["env"]["CIVITAI_API_KEY"] == reference


def test_a_dry_run_needs_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(None, "--dry-run", key="") == 0
    assert "+ create template a1111-worker" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "code", "calls"), [("y", 0, 2), ("n", 1, 0), ("", 1, 0)])
def test_on_a_terminal_it_asks(answer: str, code: int, calls: int) -> None:
    with runpod() as (_, server):
        assert run(server, answer=answer) == code
        assert len(changes(server)) == calls


def test_without_a_terminal_it_does_nothing_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (_, server):
        assert run(server) == 2
        assert changes(server) == []
    assert "--yes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "LOG_LEVL=debug"], "LOG_LEVEL?"),
        (["--env", "CONCURRENCY=99"], "CONCURRENCY='99'"),
        (["--env", "LOG_LEVEL"], "NAME=VALUE"),
        (["--volume-gb", "20"], "--data-center"),
        (["--workers-min", "9"], "--workers-min"),
        (["--env", "HF_TOKEN=“x”"], "ASCII"),
    ],
)
def test_mistakes_are_found_before_runpod_is_asked(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with runpod() as (_, server):
        assert run(server, "--yes", *arguments) == 2
        assert server.seen == []
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--volume-gb", "0"),
        ("--volume-gb", "-5"),
        ("--workers-max", "0"),
        ("--workers-min", "-1"),
        ("--idle-timeout", "0"),
        ("--disk-gb", "many"),
        ("--image", ""),
        ("--image", "me/worker 1"),
        ("--name", ""),
        ("--preset", "sdxxl"),
    ],
)
def test_values_that_can_not_be_meant_are_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (_, server), pytest.raises(SystemExit) as caught:
        run(server, "--yes", f"{option}={value}")
    assert caught.value.code == 2
    assert option in capsys.readouterr().err
    assert server.seen == []


def test_a_gpu_that_is_not_known_is_asked_about_and_left_to_runpod(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (account, server):
        assert run(server, "--yes", "--gpu", "NVIDIA L44") == 0
    assert "NVIDIA L44: no GPU type that is known here; NVIDIA L4" in capsys.readouterr().err
    assert account.things["endpoints"]["e1"]["gpuTypeIds"] == ["NVIDIA L44"]


def test_questions_are_patient_and_changes_are_sent_once(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (account, server):
        busy = [Reply(429, headers={"Retry-After": "0"}), Reply(503)]
        server._script = lambda request: busy.pop(0) if busy else account.answer(request)
        assert run(server, "--yes") == 0
    with serve(lambda request: Reply(200, b"[]") if request.method == "GET" else Reply(429)) as server:
        assert run(server, "--yes") == 1
        assert changes(server) == ["POST /v1/templates"]
    assert "try again" in capsys.readouterr().err


def test_what_was_made_before_a_failure_is_used_the_next_time() -> None:
    with runpod() as (account, server):
        refuse = [True]
        server._script = lambda request: (
            Reply(500)
            if refuse and request.path.endswith("endpoints") and request.method == "POST"
            else account.answer(request)
        )
        assert run(server, "--yes") == 1
        refuse.clear()
        assert run(server, "--yes") == 0
        assert list(account.things["templates"]) == ["t1"]


def test_a_key_that_can_not_be_one_and_an_account_out_of_reach(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (_, server):
        assert run(server, "--yes", key="rpa_“x”") == 2
        assert server.seen == []
    assert run(server, "--yes") == 1
    assert "can't be reached" in capsys.readouterr().err


def test_a_key_that_is_not_accepted_is_named_but_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with runpod() as (_, server):
        assert run(server, "--yes", key="rpa_wrong") == 1
    error = capsys.readouterr().err
    assert "RUNPOD_API_KEY" in error
    assert "rpa_wrong" not in error


def test_what_runpod_says_to_a_refusal_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(lambda request: Reply(200, b"[]") if request.method == "GET" else Reply(400, b"no such GPU")) as server:
        assert run(server, "--yes") == 1
    assert "POST templates: 400 no such GPU" in capsys.readouterr().err
