"""A worker with STAGING_DIR: the same titles, models loaded from the local copy, and the true files in charge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

from tests.integration.conftest import Worker
from tests.support import models
from tests.support.loopback_http import serve
from tests.support.model_store import ranged
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from pathlib import Path

    from worker.app import Worker as App

LONG = 20.0


def _listed(host: App) -> list[dict[str, Any]]:
    return sorted(
        requests.get(f"{host.backend.plan.url}/sdapi/v1/sd-models", timeout=10).json(), key=lambda m: m["title"]
    )


def _settled(host: App) -> None:
    assert host.staging is not None
    assert host.staging.settle(LONG)


def test_jobs_and_titles_are_what_they_are_without_copies(tmp_path: Path) -> None:
    (tmp_path / "models/checkpoints/sub").mkdir(parents=True)
    models.model_folders(tmp_path / "models")
    models.checkpoint(tmp_path / "models/checkpoints/sub/Deep_v1.safetensors")
    wanted = ("Deliberate_v6", "deep v1", "sub/Deep_v1.safetensors", "Other_v1.safetensors", "Deliberate_v6")
    seen = {}
    for name, more in (("plain", {}), ("staged", {"STAGING_DIR": str(tmp_path / "disk"), "STAGING_FREE_BYTES": "0"})):
        with running_host(tmp_path, more) as host:
            worker = Worker(host)
            answers = [worker.run(checkpoint=wish) for wish in wanted]
            titles = [(model["title"], model["model_name"], model["hash"]) for model in _listed(host)]
            seen[name] = titles, [(each["applied"]["checkpoint"], each["seeds"]) for each in answers]
            if more:
                _settled(host)
                assert host.staging is not None
                assert len(host.staging.staged()) == 3
                assert all(str(tmp_path / "disk") in model["filename"] for model in _listed(host))
    assert seen["plain"] == seen["staged"]


def test_a_bad_copy_costs_a_restart_and_the_true_file_makes_the_picture(tmp_path: Path) -> None:
    more = {"STAGING_DIR": str(tmp_path / "disk"), "STAGING_FREE_BYTES": "0"}
    with running_host(tmp_path, more) as host:
        worker = Worker(host)
        right = worker.run(checkpoint="Other_v1")
        worker.run(checkpoint="Deliberate_v6")
        _settled(host)
        true = tmp_path / "models/checkpoints/Other_v1.safetensors"
        before = true.read_bytes()
        assert host.staging is not None
        copy = host.staging.view.shown(true)
        assert copy.resolve() != true.resolve()
        copy.resolve().write_bytes(b"\xff" * len(before))
        pid = host.backend.pid
        answer = worker.run(checkpoint="Other_v1")
        assert answer["images"] == right["images"], answer
        assert host.backend.pid != pid
        assert true.read_bytes() == before
        assert not (tmp_path / "models/checkpoints/.quarantine").exists()


def test_a_checkpoint_fetched_by_a_job_is_shown_and_copied_and_gone_when_removed(tmp_path: Path) -> None:
    body = models.checkpoint(tmp_path / "source/fetched.safetensors").read_bytes()
    more = {
        "STAGING_DIR": str(tmp_path / "disk"),
        "STAGING_FREE_BYTES": "0",
        "ALLOW_HOSTS": "127.0.0.1",
        "MODEL_REMOVE": "true",
    }
    with serve(lambda request: ranged(request, body)) as server, running_host(tmp_path, more) as host:
        worker = Worker(host)
        ref = {"name": "fetched", "url": f"{server.url}/fetched.safetensors"}
        assert worker.run(checkpoint=ref)["applied"]["checkpoint"] == "fetched"
        _settled(host)
        assert host.staging is not None
        assert "fetched.safetensors" in host.staging.staged()
        worker.run(checkpoint="Deliberate_v6")
        worker.run(checkpoint="Other_v1")
        gone = worker.run_job(
            {"input": {"action": "models.remove", "models": [{"name": "fetched", "kind": "checkpoint"}]}}
        )
        assert gone["items"]["removed"] == ["checkpoint/fetched.safetensors"], gone
        assert worker.run(checkpoint="fetched")["error_code"] in {"invalid_input", "model_not_found"}
        assert "fetched.safetensors" not in host.staging.staged()


def test_a_staging_folder_that_can_not_be_used_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with running_host(tmp_path, {"STAGING_DIR": str(tmp_path / "file")}) as host:
        assert host.staging is None
        assert Worker(host).run()["images"]
