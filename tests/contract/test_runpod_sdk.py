"""What the adapter relies on inside runpod's SDK: a new version that has it otherwise fails here, with a name."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from runpod import serverless
from runpod.serverless.modules import rp_http, rp_job, rp_logger, rp_ping, rp_scale

from tests.support.echo_worker import EchoHost
from tests.support.loopback_http import Reply, serve
from tests.support.workerproc import ROOT
from worker import runpod_adapter
from worker.serving.job_handler import JobHandler
from worker.settings import read_settings


def parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (rp_scale.get_job, ["session", "num_jobs"]),
        (rp_scale.get_stop_signals, ["session"]),
        (rp_http.send_result, ["session", "job_data", "job", "is_stream"]),
        (rp_http._transmit, ["client_session", "url", "job_data"]),
        (rp_ping.Heartbeat.process_loop, ["mirror", "test"]),
        (rp_ping.Heartbeat.ping_loop, ["self", "test"]),
        (rp_scale.JobScaler.get_jobs, ["self", "session"]),
        (rp_scale.JobScaler.run_jobs, ["self", "session"]),
        (rp_scale.JobScaler.handle_job, ["self", "session", "job"]),
        (rp_scale.JobScaler.stop_job, ["self", "job_id"]),
        (rp_scale.JobScaler.set_scale, ["self"]),
        (rp_scale.JobScaler.kill_worker, ["self"]),
        (rp_scale.JobScaler.run, ["self"]),
        (serverless.start, ["config"]),
        (serverless.parser.parse_known_args, ["args", "namespace"]),
    ],
)
def test_a_function_takes_what_the_adapter_gives_it(function: object, expected: list[str]) -> None:
    assert parameters(function) == expected


STARTED = """
import subprocess, sys
started = []
sys.addaudithook(lambda event, args: started.append(args[0]) if event == "subprocess.Popen" else None)
import worker.runpod_adapter
from runpod.serverless.utils import rp_debugger
print(set(started) - {"file", "uname"}, rp_debugger.PROCESSOR)
"""


def test_the_sdk_is_imported_without_a_look_at_the_processor() -> None:
    done = subprocess.run([sys.executable, "-c", STARTED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set() Unable to get processor info.\n"


def test_the_loop_asks_the_fetchers_that_it_was_given() -> None:
    scaler = rp_scale.JobScaler({"handler": None})
    assert scaler.jobs_fetcher is rp_scale.get_job
    assert scaler.stop_signals_fetcher is rp_scale.get_stop_signals
    assert scaler.jobs_tasks == {}
    assert scaler.jobs_queue.empty()
    source = inspect.getsource(rp_scale.JobScaler)
    assert "self.jobs_fetcher(" in source
    assert "self.stop_signals_fetcher(" in source


def test_the_loop_is_made_by_its_name_in_its_module() -> None:
    assert "rp_scale.JobScaler(" in inspect.getsource(serverless.worker.run_worker)
    assert "target=Heartbeat.process_loop" in inspect.getsource(rp_ping.Heartbeat.start_ping)
    assert "await _transmit(" in inspect.getsource(rp_http._handle_result)
    assert issubclass(rp_scale.TooManyRequests, Exception)


def test_a_result_is_encoded_by_the_modules_json_and_handed_to_its_transmit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []

    class Json:
        @staticmethod
        def dumps(value: object, *, ensure_ascii: bool) -> bytes:
            seen.append(("dumps", value, ensure_ascii))
            return b"encoded"

    async def transmit(session: object, url: str, body: object) -> None:
        seen.append(("transmit", session, url.partition("&")[2], body))

    monkeypatch.setattr(rp_http, "json", Json)
    monkeypatch.setattr(rp_http, "_transmit", transmit)
    session = SimpleNamespace(headers={})
    asyncio.run(rp_http.send_result(session, {"output": 1}, {"id": "j"}, is_stream=True))
    assert seen == [("dumps", {"output": 1}, False), ("transmit", session, "isStream=true", b"encoded")]
    assert session.headers == {"X-Request-ID": "j"}


def test_the_sdks_own_tries_send_the_whole_payload_each_time() -> None:
    statuses = [500, 500, 200]

    async def post(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            await runpod_adapter._transmit(session, url, b"x" * 300_000)

    with serve(lambda _: Reply(statuses.pop(0))) as server:
        asyncio.run(post(server.url))
        assert [len(request.body) for request in server.seen] == [300_000] * 3
        assert {request.headers["content-length"] for request in server.seen} == {"300000"}


def test_a_handlers_answer_goes_through_the_modules_send_result(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[Any, ...]] = []

    async def send(session: object, result: object, job: object, *, is_stream: bool) -> None:
        sent.append((session, result, job, is_stream))

    async def handle(_job: object) -> dict[str, Any]:
        return {"seeds": [1]}

    monkeypatch.setattr(rp_job, "send_result", send)
    job = {"id": "j", "input": {}}
    asyncio.run(rp_job.handle_job(None, {"handler": handle}, job))
    assert sent == [(None, {"output": {"seeds": [1]}}, job, False)]


def test_the_queue_stays_the_same_while_the_number_of_places_does() -> None:
    async def story() -> None:
        scaler = rp_scale.JobScaler({"handler": None, "concurrency_modifier": lambda _: 5})
        await scaler.set_scale()
        queue = scaler.jobs_queue
        await scaler.set_scale()
        assert scaler.jobs_queue is queue
        assert (queue.maxsize, scaler.current_concurrency) == (5, 5)

    asyncio.run(story())


def test_a_job_that_waits_counts_twice_which_the_number_of_places_allows_for() -> None:
    async def story() -> None:
        scaler = rp_scale.JobScaler({"handler": None})
        scaler.jobs_queue = asyncio.Queue()
        job = {"id": "waits"}
        await scaler.jobs_queue.put(job)
        scaler.job_progress.add(job)
        try:
            assert scaler.current_occupancy() == 2
        finally:
            scaler.job_progress.remove(job)

    asyncio.run(story())


def test_a_job_that_ends_leaves_queue_table_and_progress() -> None:
    async def story() -> None:
        scaler = rp_scale.JobScaler({"handler": None})

        async def handle(*_: object) -> None:
            """End at once."""

        scaler.jobs_handler = handle
        job = {"id": "ends"}
        scaler.jobs_queue = asyncio.Queue()
        await scaler.jobs_queue.put(job)
        scaler.job_progress.add(job)
        scaler.jobs_tasks["ends"] = asyncio.ensure_future(asyncio.sleep(0))
        await scaler.jobs_queue.get()
        await scaler.handle_job(None, job)
        assert (scaler.jobs_tasks, scaler.job_progress.get_job_count()) == ({}, 0)
        await asyncio.wait_for(scaler.jobs_queue.join(), 1)

    asyncio.run(story())


def test_a_signal_ends_the_loop_through_kill_worker() -> None:
    killed = []

    class Scaler(rp_scale.JobScaler):  # type: ignore[misc]  # the SDK ships no types
        def kill_worker(self) -> None:
            killed.append(self.is_alive())
            super().kill_worker()

    scaler = Scaler({"handler": None})
    scaler.handle_shutdown(15, None)
    assert (killed, scaler.is_alive()) == ([True], False)


def test_a_wait_for_a_place_leaves_most_of_a_take_to_the_long_poll() -> None:
    assert rp_scale.JobScaler({"handler": None}).jobs_fetcher_timeout >= 3 * runpod_adapter.GATE_S


def test_the_command_line_has_the_options_that_the_worker_reads() -> None:
    read, _ = serverless.parser.parse_known_args(
        ["--rp_serve_api", "--test_input", "{}", "--rp_log_level", "INFO", "--rp_api_concurrency", "4"]
    )
    assert (read.rp_serve_api, read.test_input, read.rp_log_level) == (True, "{}", "INFO")
    assert read.rp_api_concurrency == 4


def test_the_pings_of_one_round_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    heartbeat = rp_ping.Heartbeat()
    heartbeat._mirror = None
    monkeypatch.setattr(heartbeat, "PING_INTERVAL", 0)
    monkeypatch.setattr(heartbeat, "_send_ping", lambda: sent.append(1))
    heartbeat.ping_loop(True)  # noqa: FBT003 - as the adapter calls it
    assert sent == [1]


def test_the_logger_has_the_levels_that_the_adapter_sets() -> None:
    assert {"DEBUG", "INFO", "WARN", "ERROR"} <= set(rp_logger.LOG_LEVELS)


class StoppedAtOnce(dict[str, "asyncio.Task[None]"]):
    """Stops each job in the moment in which it is known, before it has begun."""

    def __setitem__(self, job_id: str, task: asyncio.Task[None]) -> None:
        super().__setitem__(job_id, task)
        task.cancel()


def test_a_job_that_is_stopped_before_it_has_begun_leaves_its_place_to_the_next() -> None:
    async def story() -> None:
        handler = JobHandler(EchoHost(), read_settings({}))
        scaler = runpod_adapter._Scaler({"handler": handler.handle, "job_handler": handler})
        scaler.jobs_tasks = StoppedAtOnce()
        scaler._open.set()
        running = asyncio.ensure_future(scaler.run_jobs(None))
        job = {"id": "stopped", "input": {}}
        scaler._held.add("stopped")
        scaler.job_progress.add(job)
        await scaler.jobs_queue.put(job)
        await asyncio.wait_for(scaler._freed.wait(), 5)
        assert (scaler._held, dict(scaler.jobs_tasks), scaler.current_occupancy()) == (set(), {}, 0)
        await asyncio.wait_for(scaler.jobs_queue.join(), 5)
        scaler._closed.set()
        await running

    asyncio.run(story())
