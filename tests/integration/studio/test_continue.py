"""Pictures chosen from many and finished later, by their job or by their keys."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import requests
from PIL import Image

from tests.integration.conftest import Worker
from tests.integration.studio.conftest import bucket
from tests.integration.studio.test_workflows import STAGES, asked, job
from tests.support.webui_dir import running_host
from worker.gallery.job_requests import finishing_job
from worker.gallery.picture_catalog import PictureCatalog
from worker.gallery.store.opening import open_store
from worker.gallery.thumbnails import Thumbnails

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers.s3 import Store

STORED = {"delivery": "s3"}


def run(worker: Worker, name: str, **fields: Any) -> dict[str, Any]:
    return worker.run_job({"id": name, "input": fields})


def begun(worker: Worker, name: str, **fields: Any) -> dict[str, Any]:
    """Run a workflow up to its first stage and forget what the WebUI was asked for."""
    answer = run(worker, name, **job(until="base", output=STORED, **fields))
    worker.reset()
    return answer


def stored_pixels(url: str) -> bytes:
    with Image.open(io.BytesIO(requests.get(url, timeout=10).content)) as picture:
        return bytes(picture.convert("RGB").tobytes())


def test_of_forty_pictures_five_are_finished_and_no_picture_twice(worker: Worker) -> None:
    base = begun(worker, "forty", n_iter=40, prompt="a {red|green|blue} cat", wildcards=True)
    assert len(base["images"]) == len(base["keys"]) == 40
    keep = [0, 3, 17, 20, 39]
    answer = run(worker, "finish", type="continue", job="forty", keep=keep, output=STORED)
    assert "parts" in answer, answer
    assert [part["status"] for part in answer["parts"]] == ["made"] * 5
    assert [part["key"] for part in answer["parts"]] == [base["keys"][place] for place in keep]
    assert asked(worker) == ["img2img", "extra-single-image"] * 5
    whole = run(worker, "whole", **job(n_iter=4, prompt="a {red|green|blue} cat", wildcards=True, output=STORED))
    assert [stored_pixels(answer["images"][n]) for n in (0, 1)] == [stored_pixels(whole["images"][n]) for n in (0, 3)]
    worker.reset()
    again = run(worker, "finish-2", type="continue", job="forty", keep=keep, output=STORED)
    assert [part["status"] for part in again["parts"]] == ["skipped"] * 5
    assert [part["keys"] for part in again["parts"]] == [part["keys"] for part in answer["parts"]]
    assert requests.get(again["parts"][0]["images"][0], timeout=10).status_code == 200
    assert asked(worker) == []
    anew = run(worker, "finish-3", type="continue", job="forty", keep=[0], again=True, output=STORED)
    assert anew["parts"][0]["status"] == "made"


def test_pictures_kept_in_the_gallery_of_the_bucket_are_finished_by_their_keys(store: Store, tmp_path: Path) -> None:
    template = {"BUCKET_KEY": "{date}/{date}-{time}_s{seed}_{stage}_{job}-{n}", "BUCKET_PREFIX": "team/a"}
    settings = {"RERUNS": "0", **bucket(store), **template}
    with running_host(tmp_path, settings) as host:
        worker = Worker(host)
        base = begun(worker, "looked-at", n_iter=3)
        assert all(key.startswith("team/a/20") for key in base["keys"])
        folder = base["keys"][0].rpartition("/")[0]
        store_seen = open_store(f"s3://pics/{folder}", host.settings)
        catalog = PictureCatalog(store_seen, Thumbnails(store_seen, tmp_path / "cache"))
        catalog.scan()
        catalog.read_missing_facts()
        seen = {entry.file.name: entry.facts for entry in catalog.entries()}
        jobs = [finishing_job(facts, store_seen.key(name)) for name, facts in seen.items() if facts is not None]
        assert sorted(job["keys"][0] for job in jobs) == sorted(base["keys"])
        answer = run(worker, "finals", **jobs[0], output=STORED)
        assert [part["status"] for part in answer["parts"]] == ["made"]
        assert asked(worker) == ["img2img", "extra-single-image"]
        assert [part["status"] for part in run(worker, "again", **jobs[0], output=STORED)["parts"]] == ["skipped"]


def test_keys_alone_tell_the_stages_by_the_record_beside_them(worker: Worker) -> None:
    base = begun(worker, "by-key")
    answer = run(worker, "k", type="continue", keys=base["keys"], output=STORED)
    whole = run(worker, "by-key-whole", **job(output=STORED))
    assert stored_pixels(answer["images"][0]) == stored_pixels(whole["images"][0])


def test_pictures_without_a_record_are_finished_by_their_own_notes(worker: Worker) -> None:
    plain = run(worker, "plain", prompt="a dog", steps=2, seed=5, width=64, height=96, output=STORED)
    worker.reset()
    stages = [{"type": "img2img", "name": "mid", "denoising_strength": 0.3, "steps": 2, "seed_offset": 10}]
    answer = run(worker, "notes", type="continue", keys=plain["keys"], stages=stages, output=STORED)
    assert answer["parts"][0]["seeds"] == [15]
    entries = requests.get(f"{worker.url}/standin/requests", timeout=10).json()
    assert [entry["json"]["prompt"] for entry in entries if entry["path"].endswith("img2img")] == ["a dog"]


def test_one_that_fails_leaves_the_others(worker: Worker, store: Store) -> None:
    base = begun(worker, "holes", n_iter=3)
    store.client().delete_object(Bucket="pics", Key=base["keys"][1])
    answer = run(worker, "h", type="continue", job="holes", output=STORED)
    assert [part["status"] for part in answer["parts"]] == ["made", "failed", "made"]
    assert answer["parts"][1]["error"]["error_code"] == "invalid_input"


def test_what_is_not_there_is_named(worker: Worker) -> None:
    begun(worker, "one")
    found = run(worker, "e", type="continue", job="one", keep=[0, 1])
    assert found["details"]["problems"][0]["path"] == "keep[1]"
    found = run(worker, "e", type="continue", job="nobody")
    assert found["details"]["problems"][0]["path"] == "job"
    found = run(worker, "e", type="continue", keys=["nowhere/0-1.png"])
    assert found["details"]["problems"][0]["path"] == "stages"
    run(worker, "all", **job(stages=STAGES[:1], output=STORED))
    found = run(worker, "e", type="continue", job="all")
    assert "all stages have been run" in found["error"]


def test_a_plain_job_of_many_pictures_is_stored_as_they_are_made(worker: Worker, store: Store) -> None:
    worker.fault("nan", after=18)
    failed = run(worker, "many", prompt="a cat", steps=1, width=64, height=64, seed=1, n_iter=20)
    assert failed["error_code"] == "nan_image"
    assert len(store.keys("pics", "many/")) == 18
    worker.reset()
    answer = run(worker, "many-2", prompt="a cat", steps=1, width=64, height=64, seed=1, n_iter=20)
    assert len(answer["keys"]) == 20
    refused = run(worker, "many-3", prompt="a cat", seed=1, n_iter=20, output={"delivery": "base64"})
    assert refused["details"]["problems"][0]["path"] == "output.delivery"
    refused = run(worker, "many-4", prompt="a cat", seed=1, n_iter=201)
    assert refused["details"]["problems"][0]["path"] == "n_iter"


def test_the_facts_beside_a_last_picture_give_its_pixels(worker: Worker) -> None:
    answer = run(worker, "facts", **job(stages=STAGES[:2], output={**STORED, "metadata": True}))
    facts = requests.get(answer["pictures"][0]["metadata"], timeout=10).json()
    assert (facts["stage"], facts["seed"]) == ("mid", 1007)
    again = run(worker, "facts-again", **{**facts["job"], "output": STORED})
    assert stored_pixels(again["images"][0]) == stored_pixels(answer["images"][0])
