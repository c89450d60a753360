"""A job's names, addresses and hashes mean exactly one file, whatever the WebUI lists by then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Worker
from tests.support import models
from tests.support.loopback_http import Reply, Request, serve
from tests.support.model_store import ranged
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.settings import ModelKind


@pytest.fixture(scope="module")
def fetching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, str]]:
    folder = tmp_path_factory.mktemp("names")
    body = models.lora(folder / "source.safetensors", "sd1").read_bytes()

    def script(request: Request) -> Reply:
        named = {"Content-Disposition": 'attachment; filename="../From The Site.safetensors"'}
        return ranged(request, body, headers=named if request.path == "/download" else {})

    with serve(script) as server, running_host(folder, {"ALLOW_HOSTS": "127.0.0.1"}) as host:
        yield Worker(host), server.url


def test_a_known_name_with_another_address_is_another_file(fetching: tuple[Worker, str]) -> None:
    worker, url = fetching
    used = [
        worker.run(loras=[{"name": "Soft: Light!", "url": f"{url}/{file}.safetensors"}])["applied"]["loras"][0]["name"]
        for file in ("first", "second", "first")
    ]
    assert used[0] == used[2] == "Soft_Light"
    assert used[1].startswith("Soft_Light-")
    listed = worker.run(loras=[{"name": "add_detail", "url": f"{url}/add_detail.safetensors", "sha256": "ab" * 32}])
    assert listed["error_code"] == "hash_mismatch"


def test_a_hash_is_never_left_unchecked(fetching: tuple[Worker, str]) -> None:
    worker, _ = fetching
    assert worker.run(loras=[{"name": "add_detail", "sha256": "ab" * 32}])["error_code"] == "hash_mismatch"


def test_a_name_in_any_script_is_found_again(fetching: tuple[Worker, str]) -> None:
    worker, url = fetching
    first = worker.run(loras=[{"name": "細部 αβ", "url": f"{url}/x.safetensors"}])
    assert worker.run(loras=["細部 αβ"])["applied"]["loras"] == first["applied"]["loras"]


def test_an_address_without_a_file_name_takes_the_one_that_the_site_suggests(fetching: tuple[Worker, str]) -> None:
    worker, url = fetching
    answer = worker.run(loras=[f"{url}/download"])
    assert answer["applied"]["loras"][0]["name"].startswith("From_The_Site-")


def test_a_name_that_leaves_the_folder_is_the_clients_mistake(fetching: tuple[Worker, str]) -> None:
    worker, url = fetching
    for ref in ("../../evil", {"name": "/etc/evil", "url": f"{url}/x.safetensors"}):
        assert worker.run(loras=[ref])["error_code"] == "invalid_input"


@pytest.mark.parametrize(
    ("kind", "job"),
    [
        ("checkpoint", {"checkpoint": "Nothing v1"}),
        ("lora", {"loras": ["Nothing v1"]}),
        ("vae", {"vae": "Nothing v1"}),
    ],
)
def test_a_name_of_a_job_with_nothing_behind_it_is_told_as_that(
    fetching: tuple[Worker, str], kind: ModelKind, job: dict[str, Any]
) -> None:
    worker, _ = fetching
    path = worker.host.settings.folder(kind) / "nothing_v1.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.symlink_to("nowhere")
    try:
        answer = worker.run(**job)
    finally:
        path.unlink()
    assert answer["error_code"] == "model_damaged", answer
    assert "leads nowhere" in answer["error"]
