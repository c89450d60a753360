"""The gallery's server: what it lets nobody do, what it writes, and what survives."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.gallery import fill, finishing_endpoint, infotext, journal, png, served
from worker.gallery.live_gallery import Gallery
from worker.gallery.store.folder import Folder
from worker.gallery.store.picture_store import StoreUnavailable
from worker.gallery.web.access import TOKEN_HEADER

if TYPE_CHECKING:
    from tests.support.gallery import Served

ROOT = Path(__file__).resolve().parents[3]


def decision(gallery: Served, name: str) -> dict[str, Any]:
    return next(told.get("decision", {}) for told in gallery.pictures() if told.get("name") == name)


@pytest.mark.parametrize(
    "path",
    [
        "pictures/../secret.png",
        "pictures/%2e%2e%2fsecret.png",
        "pictures/%2e%2e/secret.png",
        "pictures//etc/passwd",
        "thumbnails/..%2f..%2fsecret.png",
        "static/..%2fapp.py",
        "static/%2e%2e/app.py",
    ],
)
def test_no_path_leads_out(tmp_path: Path, path: str) -> None:
    fill(tmp_path / "pics", 1)
    (tmp_path / "secret.png").write_bytes(png(1))
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        request = requests.Request("GET", gallery.url).prepare()
        request.url = gallery.url + path  # not made tidy by the client
        assert requests.Session().send(request, timeout=10).status_code in {400, 404}


def test_links_out_of_the_folder_and_hidden_files_are_not_shown(tmp_path: Path) -> None:
    names = fill(tmp_path / "pics", 1)
    fill(tmp_path / "pics_private", 1)
    (tmp_path / "pics" / "out.png").symlink_to(tmp_path / "pics_private" / names[0])
    (tmp_path / "pics" / "folder").symlink_to(tmp_path / "pics_private")
    (tmp_path / "pics" / "inside.png").symlink_to(tmp_path / "pics" / names[0])
    (tmp_path / "pics" / ".hidden.png").write_bytes(png(1))
    (tmp_path / "pics" / "page.svg").write_text("<svg/>")
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        assert sorted(gallery.ids()) == [names[0], "inside.png"]


def test_a_picture_that_became_a_link_out_is_not_read(tmp_path: Path) -> None:
    (name,) = fill(tmp_path / "pics", 1)
    fill(tmp_path / "private", 1)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        one = gallery.ids()[name]
        (tmp_path / "pics" / name).unlink()
        (tmp_path / "pics" / name).symlink_to(tmp_path / "private" / name)
        assert gallery.get(f"pictures/{one}").status_code == 404
        assert gallery.get(f"thumbnails/{one}").status_code == 404


def test_foreign_names_of_the_server_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "pics", 1)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        for path in ("", "api/pictures", "api/session"):
            assert gallery.get(path, headers={"Host": "attacker.example"}).status_code == 421
        port = gallery.url.split(":")[2].split("/")[0]
        assert gallery.get("api/pictures", headers={"Host": f"localhost:{port}"}).status_code == 200


def test_nothing_is_written_without_the_token_or_from_another_site(tmp_path: Path) -> None:
    (name,) = fill(tmp_path / "pics", 1)
    with served(tmp_path / "pics", tmp_path / "cache", may_delete=True) as gallery:
        body = {"decisions": [{"id": gallery.ids()[name], "set": {"flag": "reject"}}]}
        origins = ("https://attacker.example", "http://[", "null")
        foreign = [{TOKEN_HEADER: gallery.token, "Origin": origin} for origin in origins]
        for headers in ({}, {TOKEN_HEADER: "guess"}, *foreign):
            assert gallery.post("api/decisions", body, headers).status_code == 403
            assert gallery.post("api/trash", {}, headers).status_code == 403
    assert journal(tmp_path / "pics") == []
    assert (tmp_path / "pics" / name).exists()


def test_with_a_key_nothing_is_read_without_it(tmp_path: Path) -> None:
    (name,) = fill(tmp_path / "pics", 1)
    with served(tmp_path / "pics", tmp_path / "cache", key="sesame") as gallery:
        bearer = {"Authorization": "Bearer sesame"}
        one = gallery.get("api/pictures", headers=bearer).json()["pictures"][0]["id"]
        paths = ["api/pictures", f"api/pictures/{one}", f"pictures/{one}", f"thumbnails/{one}", "api/session"]
        assert {gallery.get(path).status_code for path in [*paths, "api/export/names"]} == {401}
        assert gallery.get("api/pictures", headers={"Authorization": "Bearer wrong"}).status_code == 401
        session = requests.Session()
        given = session.post(f"{gallery.url}api/session", headers=bearer, timeout=10)
        cookie = given.headers["Set-Cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert (
            session.get(f"{gallery.url}pictures/{one}", timeout=10).content == (tmp_path / "pics" / name).read_bytes()
        )


def test_every_answer_has_a_strict_policy_and_pictures_are_inert(tmp_path: Path) -> None:
    fill(tmp_path / "pics", 1)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        (told,) = gallery.pictures()
        for path in ("", "static/app.js", "api/pictures", "nowhere", f"pictures/{told['id']}"):
            headers = gallery.get(path).headers
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in gallery.get(f"pictures/{told['id']}").headers["Content-Security-Policy"]
        page = gallery.get("").text
        assert "http://" not in page
        assert "https://" not in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"flag": "maybe"}, "flag"),
        ({"stars": 6}, "stars"),
        ({"note": "x" * 501}, "note"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_bad_change_is_refused_by_its_field(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    (name,) = fill(tmp_path / "pics", 1)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        answer = gallery.mark(name, **change)
        assert answer.status_code == 400
        assert said in answer.json()["error"]
    assert journal(tmp_path / "pics") == []


def test_decisions_find_moved_renamed_and_copied_pictures_again(tmp_path: Path) -> None:
    names = fill(tmp_path / "pics", 4)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        for name, flag in zip(names, ("pick", "reject", "pick", "reject"), strict=True):
            assert gallery.mark(name, flag=flag, stars=2).status_code == 200
    (tmp_path / "pics" / "best").mkdir()
    (tmp_path / "pics" / names[0]).rename(tmp_path / "pics" / "best" / "renamed.png")
    (tmp_path / "pics" / names[1]).write_bytes(png(77))  # another picture under the same name
    shutil.copy(tmp_path / "pics" / names[2], tmp_path / "elsewhere.png")
    shutil.copy(tmp_path / "elsewhere.png", tmp_path / "pics" / names[2])  # the same picture, written later
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        assert decision(gallery, "best/renamed.png") == {"flag": "pick", "stars": 2}
        assert decision(gallery, names[1]) == {}
        assert decision(gallery, names[2]) == {"flag": "pick", "stars": 2}
        gallery.mark("best/renamed.png", stars=5)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        assert decision(gallery, "best/renamed.png") == {"flag": "pick", "stars": 5}


def test_two_galleries_on_one_folder_keep_both_sets_of_lines(tmp_path: Path) -> None:
    names = fill(tmp_path / "pics", 40)
    with (
        served(tmp_path / "pics", tmp_path / "cache") as one,
        served(tmp_path / "pics", tmp_path / "cache") as other,
        ThreadPoolExecutor(2) as pool,
    ):
        first = pool.map(lambda name: one.mark(name, flag="pick"), names[:20])
        second = pool.map(lambda name: other.mark(name, flag="reject"), names[20:])
        assert {answer.status_code for answer in [*first, *second]} == {200}
        one.gallery.catalog.scan()
        flags = [decision(one, name)["flag"] for name in names]
    assert flags == ["pick"] * 20 + ["reject"] * 20
    assert len(journal(tmp_path / "pics")) == 40


def test_after_a_kill_between_two_marks_everything_before_is_there(tmp_path: Path) -> None:
    names = fill(tmp_path / "pics", 3)
    program = (
        "import sys\nfrom pathlib import Path\nfrom tests.support.gallery import served\n"
        f"with served(Path({str(tmp_path / 'pics')!r}), Path({str(tmp_path / 'cache')!r})) as gallery:\n"
        "    print(gallery.url, gallery.token, flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    url, token = process.stdout.readline().split()
    ids = {told["name"]: told["id"] for told in requests.get(f"{url}api/pictures", timeout=10).json()["pictures"]}
    for name in names[:2]:
        body = {"decisions": [{"id": ids[name], "set": {"flag": "pick"}}]}
        assert requests.post(f"{url}api/decisions", json=body, headers={TOKEN_HEADER: token}, timeout=10).ok
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stdin.close()
    with (tmp_path / "pics" / "curation.jsonl").open("a") as file:
        file.write('{"v": 1, "t": "2026-')  # half a line
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        assert [decision(gallery, name).get("flag") for name in names] == ["pick", "pick", None]
        gallery.mark(names[2], flag="reject")
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        assert [decision(gallery, name).get("flag") for name in names] == ["pick", "pick", "reject"]


def test_a_folder_that_cant_be_written_says_so_and_keeps_the_old_decision(tmp_path: Path) -> None:
    (name,) = fill(tmp_path / "pics", 1)
    (tmp_path / "pics" / "curation.jsonl").mkdir()
    with pytest.raises(StoreUnavailable, match=r"curation\.jsonl"):
        Gallery(Folder(tmp_path / "pics"), tmp_path / "cache").catalog.scan()
    (tmp_path / "pics" / "curation.jsonl").rmdir()
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        (tmp_path / "pics" / "curation.jsonl").mkdir()
        told = gallery.mark(name, flag="pick")
        assert told.status_code == 503
        assert "curation.jsonl" in told.json()["error"]
        assert decision(gallery, name) == {}


def test_names_that_are_not_utf8_are_shown_and_marked(tmp_path: Path) -> None:
    folder = tmp_path / "pics"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(png(1, infotext(1)))
    with served(folder, tmp_path / "cache") as gallery:
        (name,) = gallery.ids()
        assert gallery.mark(name, flag="pick").json() == {"missing": []}
        assert gallery.get(f"pictures/{gallery.ids()[name]}").status_code == 200
    with served(folder, tmp_path / "cache") as gallery:
        assert decision(gallery, name) == {"flag": "pick"}


def test_exports_tell_of_the_kept_ones(tmp_path: Path) -> None:
    names = fill(tmp_path / "pics", 3, candidates=True)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        gallery.mark(names[1], flag="pick", stars=4, note="=1+1")
        gallery.get(f"api/pictures/{gallery.ids()[names[1]]}")
        assert gallery.get("api/export/names?flag=pick").text == f"{names[1]}\n"
        assert gallery.get("api/export/seeds?flag=pick").text == "1001\n"
        (job,) = gallery.get("api/export/jobs?flag=pick").json()
        assert job["input"]["seed"] == 1001
        assert "'=1+1" in gallery.get("api/export/table?flag=pick").text
        archive = zipfile.ZipFile(io.BytesIO(gallery.get("api/export/xmp?flag=pick").content))
        assert 'xmp:Rating="4"' in archive.read("0001-1001.xmp").decode()


def test_a_failed_job_says_why_and_leaves_no_file(tmp_path: Path) -> None:
    names = fill(tmp_path / "pics", 1, candidates=True)
    with (
        finishing_endpoint() as (endpoint, running),
        served(tmp_path / "pics", tmp_path / "cache", endpoint=running.url) as gallery,
    ):
        endpoint.refusal = {"error": "out_of_memory: too large", "error_code": "out_of_memory", "fault": "client"}
        gallery.post("api/finish", {"pictures": [gallery.ids()[names[0]]]})
        production = gallery.gallery.production
        assert production is not None
        production.wait()
        (task,) = gallery.get("api/pictures").json()["tasks"]
        assert (task["status"], task["message"]) == ("failed", "out_of_memory: too large")
    assert not (tmp_path / "pics" / "final").exists()


def test_a_picture_that_a_judge_stage_rejects_is_no_failure_and_a_final_needs_no_finishing(tmp_path: Path) -> None:
    names = fill(tmp_path / "pics", 2, candidates=True)
    (tmp_path / "pics" / names[1]).with_suffix(".json").write_text(json.dumps({"stage": "final"}))
    with (
        finishing_endpoint() as (endpoint, running),
        served(tmp_path / "pics", tmp_path / "cache", endpoint=running.url) as gallery,
    ):
        judge = {"name": "good", "type": "judge", "judged": [{"seed": 1000, "accepted": False, "why": "blank"}]}
        endpoint.refusal = {"images": [], "seeds": [], "stages": [{"name": "base"}, judge]}
        gallery.post("api/finish", {"pictures": [gallery.ids()[name] for name in names]})
        production = gallery.gallery.production
        assert production is not None
        production.wait()
        tasks = gallery.get("api/pictures").json()["tasks"]
    assert [task["status"] for task in tasks] == ["rejected", "skipped"]
    assert [job["seed"] for job in endpoint.jobs] == [1000]


def test_a_picture_with_nothing_left_to_do_is_told_apart_from_a_finished_one(tmp_path: Path) -> None:
    names = fill(tmp_path / "pics", 1)  # no JSON: its infotext tells of no stages
    with (
        finishing_endpoint() as (endpoint, running),
        served(tmp_path / "pics", tmp_path / "cache", endpoint=running.url) as gallery,
    ):
        (task,) = gallery.post("api/finish", {"pictures": [gallery.ids()[names[0]]]}).json()["tasks"]
        assert task["status"] == "failed"
        assert "no JSON beside it" in task["message"]
        assert endpoint.jobs == []


def test_the_json_beside_a_final_tells_its_source_and_the_job_that_was_sent(tmp_path: Path) -> None:
    names = fill(tmp_path / "pics", 1, candidates=True)
    with (
        finishing_endpoint() as (_, running),
        served(tmp_path / "pics", tmp_path / "cache", endpoint=running.url) as gallery,
    ):
        gallery.post("api/finish", {"pictures": [gallery.ids()[names[0]]]})
        production = gallery.gallery.production
        assert production is not None
        production.wait()
    told = json.loads((tmp_path / "pics" / "final" / names[0]).with_suffix(".json").read_text())
    assert (told["source"], told["stage"], told["seed"]) == (names[0], "final", 1000)
    assert told["job"] == {"type": "workflow", "workflow": "portrait", "prompt": "a lighthouse", "seed": 1000}
