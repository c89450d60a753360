"""Kept answers: found again for the very same job, whole or not at all, gone after their time."""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.pace import stretched
from tests.support.pictures import png
from worker.app import remove_leftovers
from worker.images.inspect import inspect
from worker.recovery.kept_results import ANSWER, KeptResults, result_key

if TYPE_CHECKING:
    from collections.abc import Callable

JOB = {"id": "job-1", "input": {"prompt": "a cat", "seed": 5}}


@pytest.fixture
def results(tmp_path: Path) -> KeptResults:
    return KeptResults(tmp_path / "kept", 100)


def test_the_same_job_finds_its_answer(results: KeptResults) -> None:
    results.keep(result_key(JOB), {"images": ["x"]})
    assert results.find(result_key(dict(reversed(JOB.items())))) == {"images": ["x"]}


@pytest.mark.parametrize(
    "other",
    [
        {**JOB, "id": "job-2"},
        {**JOB, "input": {"prompt": "a cat", "seed": 6}},
        {**JOB, "s3Config": {"bucketName": "b"}},
    ],
)
def test_another_job_does_not(results: KeptResults, other: dict[str, object]) -> None:
    results.keep(result_key(JOB), {"images": ["x"]})
    assert results.find(result_key(other)) is None


def _presigned(seconds: int, begins: str = "20260101T000000Z") -> str:
    return f"https://s3.example.com/b/1.png?X-Amz-Date={begins}&X-Amz-Expires={seconds}&X-Amz-Signature=ab"


@pytest.mark.parametrize(
    ("images", "later", "found"),
    [
        ([_presigned(600)], 500, True),
        ([_presigned(600)], 580, False),
        ([_presigned(3600), _presigned(600)], 700, False),
        (["https://cdn.example.com/1.png"], 700, True),
        (["https://s3.example.com/b/1.png?X-Amz-Date=nonsense&X-Amz-Expires=1"], 700, True),
        (["iVBORw0KGgo="], 700, True),
    ],
)
def test_an_answer_whose_links_are_dead_is_not_given_again(
    tmp_path: Path, images: list[str], later: float, *, found: bool
) -> None:
    signed = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
    folder = tmp_path / "kept"
    KeptResults(folder, 3600, lambda: signed).keep(result_key(JOB), {"images": images})
    os.utime(next(folder.glob("*/answer.json")), (signed, signed))
    again = KeptResults(folder, 3600, lambda: signed + later).find(result_key(JOB))
    assert (again is not None) is found


@pytest.mark.parametrize("job_id", ["../../etc/passwd", "a/b", "", ".", "\ud800", "x" * 5000, "a\x00b"])
def test_no_job_id_leads_out_of_the_folder(tmp_path: Path, job_id: str) -> None:
    results = KeptResults(tmp_path / "kept", 100)
    job = {**JOB, "id": job_id}
    results.keep(result_key(job), {"images": ["x"]})
    assert results.find(result_key(job)) == {"images": ["x"]}
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert all(path.is_dir() for path in (tmp_path / "kept").iterdir())


@pytest.mark.parametrize(
    "made", [lambda: "A" * 200_000_000, lambda: [None] * 1_000_000, lambda: {"x" * 200_000_000: 1}]
)
def test_an_input_that_no_job_has_is_not_even_looked_at(made: Callable[[], object]) -> None:
    job = {**JOB, "input": {"prompt": made()}}
    began = time.monotonic()
    with pytest.raises(ValueError, match="too large"):
        result_key(job)
    assert time.monotonic() - began < stretched(0.5)


def test_an_answer_is_forgotten_after_the_retention_time_and_its_file_removed(tmp_path: Path) -> None:
    results = KeptResults(tmp_path / "kept", 100)
    results.keep(result_key(JOB), {"images": ["x"]})
    (file,) = (tmp_path / "kept").glob(f"*/{ANSWER}")
    os.utime(file, (file.stat().st_mtime - 101,) * 2)
    assert results.find(result_key(JOB)) is None
    results.tidy(force=True)
    assert list((tmp_path / "kept").iterdir()) == []


def test_the_folder_is_looked_through_now_and_then_and_not_at_every_job(tmp_path: Path) -> None:
    results = KeptResults(tmp_path / "kept", 100)
    results.keep(result_key(JOB), {"images": ["x"]})
    (file,) = (tmp_path / "kept").glob(f"*/{ANSWER}")
    results.tidy(force=True)
    os.utime(file, (file.stat().st_mtime - 101,) * 2)
    results.tidy()
    assert file.exists()
    results.tidy(force=True)
    assert not file.exists()


def test_a_torn_file_is_no_answer(tmp_path: Path) -> None:
    results = KeptResults(tmp_path / "kept", 100)
    results.keep(result_key(JOB), {"images": ["x"]})
    (file,) = (tmp_path / "kept").glob(f"*/{ANSWER}")
    file.write_bytes(file.read_bytes()[:-5])
    assert results.find(result_key(JOB)) is None


def test_what_a_dead_worker_left_unfinished_is_removed_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    results = KeptResults(tmp_path / "kept", 100_000)
    results.keep(result_key(JOB), {"images": ["x"]})
    (file,) = (tmp_path / "kept").glob(f"*/{ANSWER}")
    old, new = file.with_name(".a.1-00.tmp"), file.with_name(".b.1-00.tmp")
    for partial in (old, new):
        partial.touch()
    os.utime(old, (old.stat().st_mtime - 601,) * 2)
    results.tidy(force=True)
    assert not old.exists()
    assert new.exists()
    assert file.exists()


def test_pictures_are_kept_under_names_that_can_be_told(tmp_path: Path) -> None:
    results = KeptResults(tmp_path / "kept", 100)
    picture = inspect(png(8, 8))
    (path,) = results.keep_pictures("job-1", [picture], [42])
    assert path.startswith(str(tmp_path / "kept" / "job-1-"))
    assert path.endswith("/0-42.png")
    assert Path(path).read_bytes() == picture.data


def test_where_nothing_can_be_written_nothing_is_kept_and_nothing_breaks(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    results = KeptResults(tmp_path / "file" / "kept", 100)
    results.keep(result_key(JOB), {"images": ["x"]})
    assert results.keep_pictures("job-1", [inspect(png(8, 8))], [42]) == []
    assert results.find(result_key(JOB)) is None


@pytest.mark.parametrize("retention", [0.0, 100.0])
def test_without_a_folder_or_a_time_nothing_is_kept(tmp_path: Path, retention: float) -> None:
    results = KeptResults(None if retention else tmp_path / "kept", retention)
    assert not results.on
    results.keep(result_key(JOB), {"images": ["x"]})
    assert results.find(result_key(JOB)) is None
    assert not (tmp_path / "kept").exists()


def test_folders_of_dead_processes_are_removed_others_stay(tmp_path: Path) -> None:
    names = [f"worker-{os.getpid()}", "worker-4194999", "worker-x", "other-4194999"]
    for name in names:
        (tmp_path / name).mkdir()
    remove_leftovers(tmp_path, "worker-")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(set(names) - {"worker-4194999"})


def test_a_part_is_found_again_by_its_job_and_name_until_it_is_too_old(tmp_path: Path) -> None:
    at = time.time()
    results = KeptResults(tmp_path / "kept", 100, lambda: at)
    assert results.keep_part(result_key(JOB), "0", b"one")
    assert results.keep_part(result_key(JOB), "1", b"two")
    assert [results.find_part(result_key(JOB), name) for name in "012"] == [b"one", b"two", None]
    assert results.find_part(result_key({**JOB, "input": {"prompt": "a dog"}}), "0") is None
    at += 200
    assert results.find_part(result_key(JOB), "0") is None


def test_a_part_that_can_not_be_kept_is_said_not_to_be(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file where the folder should be")
    results = KeptResults(tmp_path / "kept", 100)
    assert not results.keep_part(result_key(JOB), "0", b"one")
    assert results.find_part(result_key(JOB), "0") is None
    assert results.keep_pictures("job-1", [inspect(png())], [7]) == []


def test_where_nothing_is_to_be_kept_nothing_is_found() -> None:
    results = KeptResults(None, 100)
    assert not results.keep_part(result_key(JOB), "0", b"one")
    assert results.find_part(result_key(JOB), "0") is None
    assert results.keep_pictures("job-1", [inspect(png())], [7]) == []
