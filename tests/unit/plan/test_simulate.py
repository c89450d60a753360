from __future__ import annotations

import json
from dataclasses import replace

import pytest
import typer

from worker.cli.main import main
from worker.cli.plan import read_duration, read_rate
from worker.plan.recommend import options, recommend
from worker.plan.simulate import Load, SimulatedEndpoint, simulate

ONE = SimulatedEndpoint(workers=1, active=1, idle_s=1e9, handover_s=0.0)
STEADY = Load(0.5, 1.0, spread=0.0, deliver_s=0.5, arrivals=tuple(float(10 * n) for n in range(20)))
FULL = replace(STEADY, arrivals=(0.0,) * 20)


def test_a_job_alone_takes_its_own_time() -> None:
    result = simulate(STEADY, ONE)
    assert result.p50_s == pytest.approx(1.5)
    assert result.p95_s == pytest.approx(1.5)
    assert result.cold_starts == 0


def test_two_at_once_hide_the_upload_behind_the_next_job() -> None:
    assert simulate(FULL, ONE).seconds == pytest.approx(20 * 1.0 + 0.5)
    one_at_a_time = simulate(FULL, replace(ONE, at_once=1, gap_s=0.5)).seconds
    assert one_at_a_time == pytest.approx(20 * 2.0 - 0.5)


def test_a_sleeping_endpoint_pays_its_cold_start_in_time_and_money() -> None:
    sleeping = SimulatedEndpoint(workers=1, cold_s=30, idle_s=5, handover_s=0.0)
    result = simulate(replace(STEADY, arrivals=(0.0, 1000.0)), sleeping)
    assert result.p50_s == pytest.approx(31.5)
    assert result.cold_starts == 2
    assert result.paid_s == pytest.approx((30 + 1.5 + 5 + 30 + 1.5) / 2)


def test_a_long_idle_time_out_spares_cold_starts_and_costs_gpu_seconds() -> None:
    load = Load(1 / 60, 3.0, jobs=300)
    short, long_ = (simulate(load, SimulatedEndpoint(workers=2, idle_s=idle)) for idle in (5.0, 300.0))
    assert short.cold_starts > 5 * long_.cold_starts
    assert short.p95_s > long_.p95_s
    assert short.paid_s < long_.paid_s


def test_other_checkpoints_cost_their_loading() -> None:
    mixed = replace(FULL, models=(1.0, 1.0))
    assert simulate(mixed, ONE).seconds > simulate(FULL, ONE).seconds + ONE.switch_s


def test_more_workers_come_when_jobs_wait_too_long() -> None:
    flood = replace(FULL, arrivals=tuple(0.01 * n for n in range(200)))
    result = simulate(flood, SimulatedEndpoint(workers=8, active=1, queue_s=2.0, cold_s=5.0))
    assert result.most_awake > 4
    assert result.seconds < 200 / 2


def test_the_same_seed_plays_the_same() -> None:
    load = Load(2.0, 3.0, jobs=500)
    assert simulate(load, SimulatedEndpoint(workers=10), seed=3) == simulate(
        load, SimulatedEndpoint(workers=10), seed=3
    )
    assert simulate(load, SimulatedEndpoint(workers=10), seed=3) != simulate(
        load, SimulatedEndpoint(workers=10), seed=4
    )


def test_the_cheapest_that_is_fast_enough_is_recommended() -> None:
    tried = options(Load(0.5, 2.0, jobs=150), SimulatedEndpoint(workers=1))
    best = recommend(tried, p95_s=20.0)
    assert best.result.p95_s <= 20.0
    assert all(one.result.p95_s > 20.0 for one in tried if one.result.paid_s < best.result.paid_s)
    assert recommend(tried, p95_s=0.0).result.p95_s == min(one.result.p95_s for one in tried)


@pytest.mark.parametrize(("text", "per_second"), [("2/s", 2.0), ("30/min", 0.5), ("7200/h", 2.0), ("0.25", 0.25)])
def test_rates_are_written_as_people_write_them(text: str, per_second: float) -> None:
    assert read_rate(text) == pytest.approx(per_second)


@pytest.mark.parametrize(
    ("text", "seconds"), [("4s", 4.0), ("900ms", 0.9), ("1.5 min", 90.0), ("3.2", 3.2), ("2h", 7200.0), (25.0, 25.0)]
)
def test_durations_are_written_as_people_write_them(text: str | float, seconds: float) -> None:
    assert read_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["soon", "-4s", "4 fortnights"])
def test_what_is_no_duration_is_told_with_an_example(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 4s, 500ms"):
        read_duration(text)


def test_a_load_of_several_checkpoints_gets_workers_for_their_loading_too() -> None:
    base = SimulatedEndpoint(workers=1, switch_s=4.0)
    one = options(Load(2.0, 3.2, jobs=10), base)
    three = options(Load(2.0, 3.2, models=(8.0, 1.0, 1.0), jobs=10), base)
    assert min(option.endpoint.workers for option in one) == 8
    assert min(option.endpoint.workers for option in three) == 11  # every third job loads for 4 s


def test_the_recommendation_is_a_line_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--rate", "1/s", "--gen", "2s", "--jobs", "150"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    (marked,) = (line for line in lines if line.startswith("→"))
    told = dict(part.split() for part in head.split(", "))
    assert marked.split()[1:5] == [told[name] for name in ("workersMax", "workersMin", "idleTimeout", "CONCURRENCY")]


def test_the_command_tells_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rate", "1/s", "--gen", "2", "--jobs", "150"]
    assert main(["plan", *arguments]) == 0
    assert capsys.readouterr().out.startswith("workersMax ")
    assert main(["plan", *arguments, "--json"]) == 0
    tried = json.loads(capsys.readouterr().out)
    assert sum(one["recommended"] for one in tried) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rate", "fast", "--gen", "1"],
        ["--rate", "1/s", "--gen", "1", "--models", "0"],
        ["--rate", "1/s", "--gen", "0s"],
    ],
)
def test_a_mistake_is_usage(arguments: list[str]) -> None:
    assert main(["plan", *arguments]) == 2


@pytest.mark.parametrize("jobs", [1, 3, 100])
def test_a_load_of_any_length_is_played_to_its_end(jobs: int, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"plan --rate 2/s --gen 3.2 --models 8,1,1 --price 0.69 --jobs {jobs}"
    assert main(command.split()) == 0
    assert "95 of 100 within" in capsys.readouterr().out
