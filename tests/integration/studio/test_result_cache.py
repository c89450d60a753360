"""The same job again costs nothing: what the cache finds, and what it must not."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from tests.integration.conftest import Worker
from tests.integration.studio.conftest import bucket
from tests.integration.studio.test_workflows import asked, job
from tests.support import models
from tests.support.rig import pixels
from tests.support.webui_dir import running_host
from worker.cli.cache.cache_commands import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers.s3 import Store
    from worker.telemetry.progress import Progress

CAT: dict[str, Any] = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 42}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cached")


@pytest.fixture(scope="module")
def caching(folder: Path) -> Iterator[Worker]:
    with running_host(folder, {"RERUNS": "0", "RESULT_CACHE": "volume"}) as host:
        yield Worker(host)


@pytest.fixture(scope="module")
def neighbour(folder: Path, caching: Worker) -> Iterator[Worker]:
    """Another worker on the same volume."""
    with running_host(folder, {"RERUNS": "0", "RESULT_CACHE": "volume"}) as host:
        yield Worker(host)


@pytest.fixture
def worker(caching: Worker) -> Iterator[Worker]:
    caching.reset()
    yield caching
    caching.reset()


def run(worker: Worker, **fields: Any) -> dict[str, Any]:
    return worker.run_job({"input": {**CAT, **fields}})


def test_the_second_identical_job_asks_the_webui_nothing(worker: Worker) -> None:
    first = run(worker)
    worker.reset()
    second = run(worker)
    assert asked(worker) == []
    assert second["images"] == first["images"]
    assert second["applied"] == first["applied"]
    assert "cached" not in first
    assert set(second["cached"]) == {"key", "made_at", "saved_ms"}


def test_delivery_and_format_are_no_part_of_the_key(worker: Worker) -> None:
    run(worker, seed=1)
    worker.reset()
    assert run(worker, seed=1, output={"format": "jpeg"})["cached"]
    assert asked(worker) == []


@pytest.mark.parametrize("changes", [{"seed": 2}, {"steps": 3}, {"prompt": "a dog"}, {"loras": ["add_detail"]}])
def test_another_job_is_made(worker: Worker, changes: dict[str, Any]) -> None:
    run(worker, cache="refresh")
    worker.reset()
    assert "cached" not in run(worker, **changes)
    assert asked(worker) == ["txt2img"]


def test_a_random_seed_is_never_cached(worker: Worker) -> None:
    assert run(worker, seed=-1)["images"] != run(worker, seed=-1)["images"]
    refused = run(worker, seed=-1, cache="only")
    assert refused["details"]["problems"][0]["path"] == "cache"


def test_the_job_says_how_the_cache_is_used(worker: Worker) -> None:
    assert run(worker, seed=77, cache="only")["error_code"] == "not_cached"
    run(worker, seed=77)
    assert run(worker, seed=77, cache="only")["cached"]
    worker.reset()
    assert "cached" not in run(worker, seed=77, cache="off")
    assert "cached" not in run(worker, seed=77, cache="refresh")
    assert asked(worker) == ["txt2img", "txt2img"]


def test_equal_jobs_at_once_are_made_once(worker: Worker) -> None:
    async def all_at_once() -> list[dict[str, Any]]:
        jobs = [{"id": f"equal-{n}", "input": {**CAT, "seed": 500}} for n in range(4)]
        return list(await asyncio.gather(*(worker.host.run(one, on_progress=lambda _: None) for one in jobs)))

    answers = asyncio.run(all_at_once())
    assert asked(worker) == ["txt2img"]
    assert len({answer["images"][0] for answer in answers}) == 1


def test_one_that_fails_does_not_fail_the_others_with_it(worker: Worker) -> None:
    async def both() -> list[dict[str, Any]]:
        jobs = [{"id": f"twin-{n}", "input": {**CAT, "seed": 600}} for n in range(2)]
        return list(await asyncio.gather(*(worker.host.run(one, on_progress=lambda _: None) for one in jobs)))

    worker.fault("nan")
    answers = asyncio.run(both())
    assert sorted("error" in answer for answer in answers) == [False, True]


def at_once(workers: list[Worker], inputs: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """Run one job on each of the workers at the same time."""

    async def both() -> list[dict[str, Any]]:
        jobs = [{"id": f"at-once-{n}", "input": inputs, **fields} for n in range(len(workers))]
        runs = (each.host.run(one, on_progress=each.progress.append) for each, one in zip(workers, jobs, strict=True))
        return list(await asyncio.gather(*runs))

    return asyncio.run(both())


def test_equal_jobs_of_two_workers_at_once_are_made_once(worker: Worker, neighbour: Worker) -> None:
    neighbour.reset()
    worker.fault("slow-step", seconds=0.2)
    neighbour.fault("slow-step", seconds=0.2)
    answers = at_once([worker, neighbour], {**CAT, "seed": 510})
    assert asked(worker) + asked(neighbour) == ["txt2img"]
    assert answers[0]["images"] == answers[1]["images"]
    assert sorted("cached" in answer for answer in answers) == [False, True]
    assert "another worker is making the same pictures" in {one.message for one in worker.progress + neighbour.progress}


def test_equal_workflows_of_two_workers_at_once_make_each_stage_once(worker: Worker, neighbour: Worker) -> None:
    neighbour.reset()
    answers = at_once([worker, neighbour], {**job(seed=520)})
    assert sorted(asked(worker) + asked(neighbour)) == ["extra-single-image", "img2img", "txt2img"]
    assert pixels(answers[0]["images"][0]) == pixels(answers[1]["images"][0])


async def begun(neighbour: Worker, job: dict[str, Any]) -> asyncio.Task[Any]:
    """Return a job of the neighbour's, once its GPU is at work on it."""
    loop, generating = asyncio.get_running_loop(), asyncio.Event()

    def tell(progress: Progress) -> None:
        if progress.stage == "generate":
            loop.call_soon_threadsafe(generating.set)

    task = asyncio.ensure_future(neighbour.host.run(job, on_progress=tell))
    await asyncio.wait_for(generating.wait(), 20)
    return task


def test_a_worker_whose_neighbour_fails_makes_the_pictures_itself(worker: Worker, neighbour: Worker) -> None:
    neighbour.reset()
    neighbour.fault("slow-step", seconds=0.3)
    neighbour.fault("nan")

    async def one_after_the_other() -> list[dict[str, Any]]:
        equal = {"id": "fails-there", "input": {**CAT, "seed": 530}}
        first = await begun(neighbour, equal)
        return [await worker.host.run(equal, on_progress=worker.progress.append), await first]

    made, failed = asyncio.run(one_after_the_other())
    assert failed["error_code"] == "nan_image"
    assert "images" in made
    assert "cached" not in made
    assert asked(worker) == asked(neighbour) == ["txt2img"]


def test_a_worker_waits_for_its_neighbour_for_half_of_the_jobs_time_at_most(worker: Worker, neighbour: Worker) -> None:
    neighbour.reset()
    neighbour.fault("hang")

    async def one_after_the_other() -> dict[str, Any]:
        equal = {"id": "hangs-there", "input": {**CAT, "seed": 540}}
        first = await begun(neighbour, equal)
        made = await worker.host.run({**equal, "policy": {"executionTimeout": 3000}}, on_progress=lambda _: None)
        neighbour.reset()
        await first
        return dict(made)

    made = asyncio.run(one_after_the_other())
    assert "images" in made
    assert made["phase_ms"]["cache"] > 1000


def test_the_stages_of_a_workflow_are_cached_each(worker: Worker) -> None:
    first = run(worker, **job())
    worker.reset()
    second = run(worker, **job(stages=[*job()["stages"][:2], {"type": "upscale", "name": "final", "scale": 3}]))
    assert asked(worker) == ["extra-single-image"]
    assert [bool(stage.get("cached")) for stage in second["stages"]] == [True, True, False]
    assert pixels(run(worker, **job())["images"][0]) == pixels(first["images"][0])


def test_a_lora_of_the_same_name_with_other_bytes_is_another(worker: Worker, folder: Path) -> None:
    place = folder / "models" / "loras" / "add_detail.safetensors"
    run(worker, loras=["add_detail"], cache="refresh")
    worker.reset()
    assert run(worker, loras=["add_detail"])["cached"]
    models.lora(place, metadata={"ss_tag": "other"})
    assert "cached" not in run(worker, loras=["add_detail"])
    with_lora = [body for body in worker.sent() if "<lora:add_detail" in body["prompt"]]
    assert len(with_lora) == 1  # the WebUI is made to let go of the old file by a tiny picture without it


def test_the_cache_outlives_the_worker(worker: Worker, folder: Path) -> None:
    first = run(worker, seed=900)
    with running_host(folder, {"RERUNS": "0", "RESULT_CACHE": "volume"}) as host:
        second = run(Worker(host), seed=900)
        assert second["images"] == first["images"]
        assert second["cached"]
        assert host.cache()[:2] == (1, 0)


def test_the_policy_of_today_is_asked_about_pictures_of_yesterday(worker: Worker, folder: Path) -> None:
    run(worker, prompt="a forbidden cat", seed=901)
    rules = folder / "rules.yaml"
    rules.write_text("- {name: cats, action: refuse, terms: [forbidden]}\n", encoding="utf-8")
    settings = {"RERUNS": "0", "RESULT_CACHE": "volume", "PROMPT_POLICY_FILE": str(rules)}
    with running_host(folder, settings) as host:
        assert run(Worker(host), prompt="a forbidden cat", seed=901)["error_code"] == "invalid_input"


def test_a_damaged_entry_is_made_anew(worker: Worker, folder: Path) -> None:
    first = run(worker, seed=902)
    for path in (folder / "result-cache").rglob("*.zip"):
        path.write_bytes(path.read_bytes()[:-200])
    assert run(worker, seed=902)["images"] == first["images"]


def test_the_operators_bucket_holds_the_cache_and_no_other_client_gets_it(tmp_path: Path, store: Store) -> None:
    settings = {"RERUNS": "0", "RESULT_CACHE": "s3", "ALLOW_HOSTS": "127.0.0.1", **bucket(store)}
    store.make_bucket("theirs")
    theirs = {"endpointUrl": store.url, "bucketName": "theirs", "accessId": "test:tester", "accessSecret": "testing"}
    with running_host(tmp_path, settings) as host:
        worker = Worker(host)
        worker.reset()
        run(worker)
        assert store.keys("pics", "result-cache/")
        assert run(worker)["cached"]
        stored = worker.run_job({"input": CAT, "s3Config": theirs})
        assert "cached" not in stored
        assert worker.run_job({"input": CAT, "s3Config": theirs})["cached"]
        assert asked(worker) == ["txt2img", "txt2img"]


def test_the_command_line_lists_and_clears(folder: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    run(worker, seed=903)
    monkeypatch.setenv("RESULT_CACHE", "volume")
    monkeypatch.setenv("MODELS_DIR", str(folder / "models"))
    listed = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)
    assert listed
    assert set(listed[0]) == {"key", "bytes", "used"}
    assert CliRunner().invoke(app, ["clear"]).exit_code == 0
    assert json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout) == []
    assert "cached" not in run(worker, seed=903)
