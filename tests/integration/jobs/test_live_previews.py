"""The unfinished picture in a job's progress: only when asked for and allowed, small, not too often."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import requests

from tests.integration.conftest import Worker
from tests.support.webui_dir import running_host
from worker.images.inspect import decode_base64, inspect
from worker.webui.previews import LONGEST_SIDE, small

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = {"steps": 60, "width": 512, "height": 256, "batch_size": 2}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    more = {"LIVE_PREVIEWS": "Full", "LIVE_PREVIEW_EVERY_S": "0.5", "STANDIN_STEP_SECONDS": "0.03"}
    with running_host(tmp_path_factory.mktemp("watched"), more) as host:
        yield Worker(host)


def test_a_job_that_asks_gets_small_jpegs_at_a_bounded_rate(watched: Worker) -> None:
    watched.reset()
    answer = watched.run(**LONG, live_previews=True)
    previews = [told.preview for told in watched.progress if told.preview]
    assert previews
    assert len(previews) <= 60 * 0.03 / 0.5 + 1
    assert len(set(previews)) == len(previews)
    for preview in previews:
        picture = inspect(decode_base64(preview))
        assert (picture.format, max(picture.width, picture.height)) == ("jpeg", LONGEST_SIDE)
    assert watched.sent()[0]["override_settings"]["show_progress_type"] == "Full"
    assert all(one.percent <= next_one.percent for one, next_one in pairwise(watched.progress))
    assert "live_previews" not in " ".join(answer["warnings"])


def test_the_next_job_is_not_watched_and_makes_the_same_picture(watched: Worker) -> None:
    seen = watched.run(**LONG, live_previews=True)
    watched.reset()
    plain = watched.run(**LONG)
    assert not [told for told in watched.progress if told.preview]
    assert "live_previews_enable" not in watched.sent()[0]["override_settings"]
    assert plain["images"] == seen["images"]
    options = requests.get(f"{watched.url}/sdapi/v1/options", timeout=10).json()
    assert (options["live_previews_enable"], options["show_progress_type"]) == (False, "Approx cheap")


def test_an_endpoint_without_them_says_so_and_makes_the_picture(worker: Worker) -> None:
    answer = worker.run(live_previews=True)
    assert "live_previews: this endpoint makes none (LIVE_PREVIEWS)" in answer["warnings"]
    assert len(answer["images"]) == 1
    assert "live_previews_enable" not in worker.sent()[0]["override_settings"]


@pytest.mark.parametrize("broken", [None, "", "%%", "aGVsbG8=", 7])
def test_a_preview_that_is_no_picture_is_none(broken: object) -> None:
    assert small(broken) is None
