"""The gallery of a bucket, on a real S3 server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.gallery import finishing_endpoint, infotext, png, served
from tests.support.servers.s3 import ACCESS_KEY, SECRET_KEY, running_store
from worker.gallery.live_gallery import Gallery
from worker.gallery.store import bucket as bucket_module
from worker.gallery.store.bucket import Bucket
from worker.gallery.store.opening import open_store
from worker.gallery.store.picture_store import StoreUnavailable
from worker.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers.s3 import Store


@pytest.fixture(scope="module")
def s3() -> Iterator[Store]:
    with running_store() as store:
        store.make_bucket("pics")
        yield store


def opened(s3: Store, prefix: str) -> Bucket:
    environment = {
        "BUCKET_ENDPOINT_URL": s3.url,
        "BUCKET_ACCESS_KEY_ID": ACCESS_KEY,
        "BUCKET_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    store = open_store(f"s3://pics/{prefix}", read_settings(environment))
    assert isinstance(store, Bucket)
    return store


def put(s3: Store, key: str, data: bytes) -> None:
    s3.client().put_object(Bucket="pics", Key=key, Body=data)


def test_pictures_of_a_prefix_are_shown_marked_and_found_again_under_another_key(s3: Store, tmp_path: Path) -> None:
    put(s3, "one/a.png", png(1, infotext(1)))
    put(s3, "one/sub/b.png", png(2, infotext(2)))
    put(s3, "one_private/c.png", png(3))
    with served(opened(s3, "one"), tmp_path / "cache") as gallery:
        assert sorted(gallery.ids()) == ["a.png", "sub/b.png"]
        assert gallery.get(f"thumbnails/{gallery.ids()['a.png']}").headers["Content-Type"] == "image/webp"
        gallery.mark("a.png", flag="pick", stars=3)
        gallery.mark("sub/b.png", flag="reject")
    client = s3.client()
    client.copy_object(Bucket="pics", Key="one/moved.png", CopySource={"Bucket": "pics", "Key": "one/a.png"})
    client.delete_object(Bucket="pics", Key="one/a.png")
    with served(opened(s3, "one"), tmp_path / "cache") as gallery:
        told = {one["name"]: one.get("decision") for one in gallery.pictures()}
    assert told == {
        "moved.png": {"flag": "pick", "stars": 3},
        "sub/b.png": {"flag": "reject"},
    }


@pytest.mark.slow
def test_the_journal_is_merged_without_losing_a_line(
    s3: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "MOST_PARTS", 4)
    put(s3, "two/a.png", png(1))
    with (
        served(opened(s3, "two"), tmp_path / "cache") as one,
        served(opened(s3, "two"), tmp_path / "cache") as other,
    ):
        for stars in (1, 2, 3, 4, 5, 3):
            one.mark("a.png", stars=stars)
            other.mark("a.png", label=stars % 5)
        assert len(s3.keys("pics", "two/curation/")) <= 6
    with served(opened(s3, "two"), tmp_path / "cache") as gallery:
        (told,) = gallery.pictures()
    assert told["decision"] == {"stars": 3, "label": 3}


def test_kept_pictures_are_finished_by_their_keys_and_rejected_ones_come_back_from_the_trash(
    s3: Store, tmp_path: Path
) -> None:
    put(s3, "three/a.png", png(1, infotext(1)))
    put(s3, "three/b.png", png(2, infotext(2)))
    with (
        finishing_endpoint() as (endpoint, running),
        served(opened(s3, "three"), tmp_path / "cache", endpoint=running.url, may_delete=True) as gallery,
    ):
        gallery.post("api/finish", {"pictures": [gallery.ids()["a.png"]]})
        production = gallery.gallery.production
        assert production is not None
        production.wait()
        assert endpoint.jobs == [{"type": "continue", "keys": ["three/a.png"]}]
        assert "final/a.png" in gallery.ids()
        gallery.mark("b.png", flag="reject")
        assert gallery.post("api/trash", {}).json() == {"moved": 1}
        assert "three/.trash/b.png" in s3.keys("pics", "three/")
        assert gallery.post("api/restore", {}).json() == {"moved": 1}
        assert "three/b.png" in s3.keys("pics", "three/")


def test_a_bucket_that_is_not_there_says_so(s3: Store, tmp_path: Path) -> None:
    environment = {
        "BUCKET_ENDPOINT_URL": s3.url,
        "BUCKET_ACCESS_KEY_ID": ACCESS_KEY,
        "BUCKET_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    with pytest.raises(StoreUnavailable, match="s3://nowhere/"):
        Gallery(open_store("s3://nowhere/", read_settings(environment)), tmp_path / "cache").catalog.scan()
