"""Figures and probes of a running worker, as Prometheus and a load balancer see them."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.loopback_http import Reply, serve
from tests.support.ports import free_port
from tests.support.webui_dir import environment, running_host
from worker.app import Worker
from worker.errors import BootFailed, all_errors
from worker.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.loopback_http import Request

GUIDE = Path(__file__).parents[3] / "docs" / "operating.md"
DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana" / "worker.json"
ALERTS = DASHBOARD.with_name("alerts.yml")
JOB = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 1}


def run(host: Worker, **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = asyncio.run(host.run({"id": "1", "input": {**JOB, **fields}}, on_progress=lambda _: None))
    return answer


def figures(port: int) -> dict[str, float]:
    """Every sample as Prometheus writes it: ``name{label="value"}``."""
    answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
    assert answer.status_code == 200
    return {
        sample.name + "".join(f"{{{key}={value}}}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def run_and_stay(host: Worker) -> dict[str, Any]:
    """Run a job and keep the loop until the WebUI's memory was looked at, some moments after the answer."""

    async def play() -> dict[str, Any]:
        answer: dict[str, Any] = await host.run({"id": "1", "input": JOB}, on_progress=lambda _: None)
        while "ram_bytes" not in host.webui_memory():  # noqa: ASYNC110 - measured by the worker, which tells nobody
            await asyncio.sleep(0.02)  # the loop that has to stay alive for that
        return answer

    return asyncio.run(asyncio.wait_for(play(), 30))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, int]]:
    port = free_port()
    with running_host(
        tmp_path_factory.mktemp("watched"), {"METRICS_PORT": str(port), "PORT_HEALTH": str(port)}
    ) as host:
        yield host, port


def test_jobs_are_counted_by_kind_and_result_with_the_time_of_each_phase(watched: tuple[Worker, int]) -> None:
    host, port = watched
    before = figures(port)
    assert "error" not in run(host, batch_size=2)
    assert run(host, sampler_name="nope")["error_code"] == "invalid_input"
    assert run(host, steps="many")["error_code"] == "invalid_input"
    after = figures(port)

    def gained(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    assert gained("worker_jobs_total{kind=txt2img}{result=ok}") == 1
    assert gained("worker_jobs_total{kind=txt2img}{result=invalid_input}") == 1
    assert gained("worker_jobs_total{kind=unknown}{result=invalid_input}") == 1
    assert gained("worker_images_total") == 2
    assert gained("worker_job_seconds_count{kind=txt2img}") == 2
    assert gained("worker_phase_seconds_count{phase=generate}") == 1
    assert gained("worker_gpu_busy_seconds_total") > 0
    assert after["worker_queue_jobs"] == 0


def test_state_restarts_models_and_memory_are_told(watched: tuple[Worker, int]) -> None:
    host, port = watched
    assert "error" not in run_and_stay(host)
    told = figures(port)
    assert told["worker_webui_memory_bytes"] > 1e6
    assert told["worker_state{state=ready}"] == 1
    assert told["worker_state{state=starting}"] == 0
    assert told["worker_webui_restarts_total"] == 0
    assert told["process_resident_memory_bytes"] > 1e6
    assert told["worker_fetched_models_total"] == 0
    assert told["worker_volume_models{kind=checkpoint}"] == 3
    assert told["worker_volume_bytes{kind=checkpoint}"] > 0


def test_a_load_balancer_learns_when_jobs_can_be_taken(tmp_path: Path) -> None:
    port = free_port()
    variables = environment(tmp_path, {"PORT_HEALTH": str(port), "STANDIN_LOAD_SECONDS": "1"})
    host = Worker(read_settings(variables), variables)
    try:
        host.spawn()
        assert requests.get(f"http://127.0.0.1:{port}/ping", timeout=10).status_code == 204
        assert requests.get(f"http://127.0.0.1:{port}/ready", timeout=10).status_code == 503
        host.wait_ready()
        assert requests.get(f"http://127.0.0.1:{port}/ready", timeout=10).status_code == 200
        assert requests.get(f"http://127.0.0.1:{port}/ping", timeout=10).status_code == 200
        health = requests.get(f"http://127.0.0.1:{port}/health", timeout=10)
        assert health.json()["state"] == "ready"
        assert requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).status_code == 404
    finally:
        host.close()


def test_a_port_that_is_taken_ends_the_start_with_its_name(tmp_path: Path, watched: tuple[Worker, int]) -> None:
    variables = environment(tmp_path, {"METRICS_PORT": str(watched[1])})
    host = Worker(read_settings(variables), variables)
    try:
        with pytest.raises(BootFailed, match=f"METRICS_PORT: {watched[1]} is taken"):
            host.spawn()
    finally:
        host.close()


def test_figures_are_pushed_and_once_more_at_the_end(tmp_path: Path) -> None:
    pushed: list[Request] = []

    def take(request: Request) -> Reply:
        pushed.append(request)
        return Reply(200)

    with serve(take) as gateway:
        settings = {"METRICS_PUSH_URL": gateway.url, "METRICS_PUSH_EVERY_S": "3600", "RUNPOD_POD_ID": "pod-7"}
        with running_host(tmp_path, settings) as host:
            assert "error" not in run(host)
        assert [request.path for request in pushed] == ["/metrics/job/a1111-worker/instance/pod-7"]
        assert b'worker_jobs_total{kind="txt2img",result="ok"} 1.0' in pushed[0].body


def test_the_dashboard_asks_only_for_figures_that_there_are(watched: tuple[Worker, int]) -> None:
    host, port = watched
    run_and_stay(host)
    there = {name.partition("{")[0] for name in figures(port)}
    there |= {f"worker_gpu_{name}" for name in ("utilization_ratio", "memory_used_bytes", "memory_total_bytes")}
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    rules = [rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]] + [rule["expr"] for rule in rules]
    asked = {name for each in expressions for name in re.findall(r"\b(?:worker|process)_[a-z_]+", each)}
    assert len(asked) > 10
    assert asked - there == set()
    page = re.findall(r"^    (.*worker_.*)$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(page) >= 2
    assert {name for line in page for name in re.findall(r"\bworker_[a-z_]+", line)} <= there


def test_the_dashboard_shows_success_percentiles_errors_and_cost() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    titles = [panel["title"] for panel in board["panels"]]
    for wanted in ("Success rate", "Job time: p50, p95, p99", "Errors per minute by kind", "Cost per picture"):
        assert wanted in titles
    assert len({panel["id"] for panel in board["panels"]}) == len(titles)
    variables = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)\b", json.dumps(board["panels"])))
    assert used - variables == set()


def test_alerts_name_results_that_jobs_can_have() -> None:
    codes = {error.code for error in all_errors()} | {"ok", "cancelled"}
    for rule in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]:
        for results in re.findall(r'result[!=]~?"([^"]+)"', rule["expr"]):
            assert set(results.split("|")) <= codes, rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert {"summary", "description"} <= set(rule["annotations"])
