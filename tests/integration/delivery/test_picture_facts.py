"""The facts beside pictures in a real store, under names as the operator likes them."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.integration.conftest import Worker
from tests.support.servers.s3 import ACCESS_KEY, SECRET_KEY
from tests.support.webui_dir import running_host
from worker.gallery.facts import read_facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers.s3 import Store


@pytest.fixture(scope="module")
def storing(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Iterator[Worker]:
    more = {
        "BUCKET_ENDPOINT_URL": store.url,
        "BUCKET_NAME": "pics",
        "BUCKET_ACCESS_KEY_ID": ACCESS_KEY,
        "BUCKET_SECRET_ACCESS_KEY": SECRET_KEY,
        "BUCKET_PREFIX": "studio",
        "BUCKET_KEY": "{checkpoint}/{date}-{time}_s{seed}_{stage}_{job}-{n}",
    }
    with running_host(tmp_path_factory.mktemp("storing"), more) as host:
        yield Worker(host)


def run(worker: Worker, name: str, **job: Any) -> dict[str, Any]:
    fields = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 42, **job}
    return worker.run_job({"id": name, "input": fields})


def test_each_picture_has_its_facts_beside_it_and_is_made_again_by_them(storing: Worker, store: Store) -> None:
    answer = run(storing, "facts", n_iter=2, output={"delivery": "s3", "metadata": True})
    assert [row["key"] for row in answer["pictures"]] == answer["keys"]
    for index, row in enumerate(answer["pictures"]):
        pattern = rf"studio/Deliberate_v6/\d{{8}}-\d{{6}}_s{42 + index}_txt2img_facts-{index}\.png"
        assert re.fullmatch(pattern, row["key"])
        assert row["key"].replace(".png", ".json") in store.keys("pics", "studio/Deliberate_v6/")
        facts = requests.get(row["metadata"], timeout=10).json()
        assert (facts["index"], facts["seed"], facts["job_id"]) == (index, 42 + index, "facts")
        assert facts["key"] == row["key"]
        read = read_facts(row["key"], json.dumps(facts).encode(), None, (64, 64))
        assert (read.seed, read.checkpoint, read.stage) == (42 + index, "Deliberate_v6", "txt2img")
        assert (read.key, read.job, read.request) == (row["key"], "facts", facts["job"])
        again = storing.run_job({"id": f"again-{index}", "input": facts["job"]})
        assert requests.get(answer["images"][index], timeout=10).content == base64.b64decode(again["images"][0])


def test_a_stored_job_has_the_pictures_that_the_client_sent(storing: Worker) -> None:
    start = storing.run(output={"delivery": "base64"})["images"][0]
    output = {"delivery": "s3", "metadata": True}
    answer = run(storing, "start", init_images=[start], denoising_strength=0.4, output=output)
    facts = requests.get(answer["pictures"][0]["metadata"], timeout=10).json()
    assert facts["job"]["init_images"] == [start]
    assert "job_lacks" not in facts
    again = storing.run_job({"id": "start-again", "input": facts["job"]})
    assert requests.get(answer["images"][0], timeout=10).content == base64.b64decode(again["images"][0])


def test_pictures_that_no_answer_carries_have_facts_under_a_key(storing: Worker, store: Store) -> None:
    answer = run(storing, "hidden", output={"delivery": "none", "metadata": True})
    (row,) = answer["pictures"]
    assert answer["images"] == []
    assert row["metadata"] == row["key"].replace(".png", ".json")
    assert row["metadata"] in store.keys("pics", "studio/")
