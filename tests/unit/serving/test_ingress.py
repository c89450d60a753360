from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.errors import SettingsInvalid
from worker.ingress import http_settings, is_load_balanced, refuse_sdk_workers, serves_http
from worker.settings import read_settings

if TYPE_CHECKING:
    from worker.settings import Settings

BALANCED = {"RUNPOD_ENDPOINT_ID": "abc123", "RUNPOD_POD_ID": "pod-7"}
QUEUE = {**BALANCED, "RUNPOD_WEBHOOK_GET_JOB": "http://jobs/job-take/$ID?gpu=1"}


def served(environment: dict[str, str], host: str | None = None, port: int | None = None) -> Settings:
    return http_settings(read_settings(environment), environment, host=host, port=port)


@pytest.mark.parametrize(
    ("environment", "arguments", "expected"),
    [
        (BALANCED, [], True),
        (BALANCED, ["--rp_log_level", "INFO"], True),
        (BALANCED, ["--test_input", "{}"], False),
        (BALANCED, ["--rp_serve_api"], False),
        (QUEUE, [], False),
        ({"RUNPOD_POD_ID": "a-plain-pod"}, [], False),
        ({}, [], False),
    ],
)
def test_the_default_command_serves_http_on_load_balancing_endpoints_alone(
    environment: dict[str, str], arguments: list[str], expected: object
) -> None:
    assert serves_http(environment, arguments) is expected
    assert is_load_balanced(environment) is (environment is BALANCED)


@pytest.mark.parametrize(
    ("more", "address"),
    [
        ({}, ("0.0.0.0", 80)),
        ({"PORT": "18080"}, ("0.0.0.0", 18080)),
        ({"HTTP_PORT": "5000", "HTTP_HOST": "127.0.0.1"}, ("127.0.0.1", 5000)),
        ({"PORT": " "}, ("0.0.0.0", 80)),
    ],
)
def test_behind_a_load_balancer_it_listens_where_the_platform_asks(more: dict[str, str], address: object) -> None:
    settings = served({**BALANCED, **more})
    assert (settings.http_host, settings.http_port) == address


def test_elsewhere_it_listens_on_loopback_unless_told_otherwise() -> None:
    assert (served({}).http_host, served({}).http_port) == ("127.0.0.1", 8000)
    assert served({"PORT": "18080"}).http_host == "127.0.0.1"
    settings = served({**BALANCED, "PORT": "80"}, host="::1", port=9000)
    assert (settings.http_host, settings.http_port) == ("::1", 9000)


def test_limits_are_those_of_the_way_in_unless_the_operator_has_set_them() -> None:
    balanced, plain = served(BALANCED), served({})
    assert balanced.max_input_bytes == 30_000_000
    assert 29_000_000 < balanced.max_output_bytes < 30_000_000
    assert (plain.max_input_bytes, plain.max_output_bytes) == (100_000_000, 100_000_000)
    own = served({**BALANCED, "MAX_INPUT_BYTES": "5000", "MAX_OUTPUT_BYTES": "6000"})
    assert (own.max_input_bytes, own.max_output_bytes) == (5000, 6000)


def test_one_listener_answers_jobs_and_probes_on_the_same_port() -> None:
    assert served({**BALANCED, "PORT": "18080", "PORT_HEALTH": "18080"}).port_health == 0
    assert served({**BALANCED, "PORT_HEALTH": "80"}).port_health == 0
    assert served({**BALANCED, "PORT": "18080", "PORT_HEALTH": "18081"}).port_health == 18081
    with pytest.raises(SettingsInvalid, match="METRICS_PORT=18080"):
        served({"PORT": "18080", "METRICS_PORT": "18080"})


@pytest.mark.parametrize("arguments", [["--rp_api_concurrency", "4"], ["--rp_serve_api", "--rp_api_concurrency=2"]])
def test_several_processes_for_one_gpu_are_refused_with_the_way_out(arguments: list[str]) -> None:
    with pytest.raises(SettingsInvalid, match="only one can have the GPU") as caught:
        refuse_sdk_workers(arguments)
    assert "worker serve" in str(caught.value.hint)


@pytest.mark.parametrize(
    "arguments", [[], ["--rp_api_concurrency", "1"], ["--rp_serve_api"], ["--test_input", "--rp_api_concurrency 4"]]
)
def test_what_asks_for_one_process_passes(arguments: list[str]) -> None:
    refuse_sdk_workers(arguments)


def test_a_health_check_path_may_come_without_its_slash_from_the_console() -> None:
    assert read_settings({"HEALTH_CHECK_PATH": "healthz"}).health_check_path == "/healthz"


@pytest.mark.parametrize("path", ["/a b", "/a?b", "/a/{b}"])
def test_a_health_check_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(SettingsInvalid, match="HEALTH_CHECK_PATH"):
        read_settings({"HEALTH_CHECK_PATH": path})
