"""Rejected pictures in a store, apart from the accepted ones, and the scores in the facts beside those."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest
import requests
from PIL import Image

from tests.integration.conftest import Worker
from tests.support.judge_models import brightness_model
from tests.support.servers.s3 import ACCESS_KEY, SECRET_KEY
from tests.support.webui_dir import running_host
from worker.gallery.facts import read_facts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers.s3 import Store


@pytest.fixture
def storing(tmp_path: Path, store: Store) -> Iterator[Worker]:
    more = {
        "BUCKET_ENDPOINT_URL": store.url,
        "BUCKET_NAME": "pics",
        "BUCKET_ACCESS_KEY_ID": ACCESS_KEY,
        "BUCKET_SECRET_ACCESS_KEY": SECRET_KEY,
        "AESTHETIC_MODEL": str(brightness_model(tmp_path / "aesthetic.onnx")),
    }
    with running_host(tmp_path, more) as host:
        yield Worker(host)


def test_rejected_pictures_are_stored_apart_and_scores_stand_in_the_facts(storing: Worker, store: Store) -> None:
    criteria = {"judges": [{"name": "aesthetic"}]}
    found = storing.run(accept={"count": 4, "at_most": 4, **criteria}, output={"delivery": "none"})["judged"]
    least = sorted(one["aesthetic"]["score"] for one in found)[2] - 0.0001
    accept = {"count": 4, "at_most": 4, "judges": [{"name": "aesthetic", "least": least}]}
    answer = storing.run(accept=accept, output={"delivery": "s3", "metadata": True, "rejected": "store"})
    rejected = [one for one in answer["judged"] if not one["accepted"]]
    assert (len(answer["keys"]), len(rejected)) == (2, 2)
    for one in rejected:
        assert one["key"] not in answer["keys"]
        data = store.client().get_object(Bucket="pics", Key=one["key"])["Body"].read()
        assert Image.open(BytesIO(data)).size == (64, 64)
    assert all("key" not in one for one in answer["judged"] if one["accepted"])
    for row, seed in zip(answer["pictures"], answer["seeds"], strict=True):
        document = requests.get(row["metadata"], timeout=10)
        facts = read_facts(row["key"], document.content, None, (64, 64))
        assert facts.seed == seed
        assert facts.scores["aesthetic.score"] >= least
        assert "accept" not in document.json()["job"]
