"""What the adapter relies on inside runpod's SDK: a new version that has it otherwise fails here, with a name."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from runpod import serverless
from runpod.serverless.modules import rp_http, rp_logger, rp_ping, rp_scale

from tests.support.echo_worker import EchoHost
from worker import runpod_adapter
from worker.serving.handler import JobHandler
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
