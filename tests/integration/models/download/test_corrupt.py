"""A checkpoint that was corrupted on the volume: the WebUI can't read it, the worker gets it anew, the job goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.conftest import Worker
from tests.support import models
from tests.support.loopback_http import serve
from tests.support.model_store import ranged
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from pathlib import Path


def test_a_job_with_models_by_url_gets_its_picture_and_survives_their_corruption(tmp_path: Path) -> None:
    checkpoint = models.checkpoint(tmp_path / "source/fetched.safetensors").read_bytes()
    with (
        serve(lambda request: ranged(request, checkpoint)) as server,
        running_host(tmp_path, {"ALLOW_HOSTS": "127.0.0.1"}) as host,
    ):
        worker = Worker(host)
        ref = {"name": "fetched", "url": f"{server.url}/fetched.safetensors"}
        first = worker.run(checkpoint=ref)
        assert first["applied"]["checkpoint"] == "fetched", first
        count = len(server.seen)
        worker.run(checkpoint="Deliberate_v6")
        path = tmp_path / "models/checkpoints/fetched.safetensors"
        path.write_bytes(b"\xff" * 16 + checkpoint[16:])
        again = worker.run(checkpoint=ref)
        assert again["applied"]["checkpoint"] == "fetched", again
        assert again["seeds"] == first["seeds"]
        assert len(server.seen) > count
        assert path.read_bytes() == checkpoint
        aside = tmp_path / "models/checkpoints/.quarantine"
        assert [each.name.endswith("fetched.safetensors.corrupt") for each in sorted(aside.iterdir())][:1] == [True]
    second = running_host(tmp_path, {"ALLOW_HOSTS": "127.0.0.1"})
    with second as host:
        assert Worker(host).run(checkpoint=ref)["applied"]["checkpoint"] == "fetched"


def test_a_worker_on_an_empty_volume_fetches_its_default_checkpoint(tmp_path: Path) -> None:
    checkpoint = models.checkpoint(tmp_path / "source/start.safetensors").read_bytes()
    (tmp_path / "models").mkdir()
    with serve(lambda request: ranged(request, checkpoint)) as server:
        more = {"ALLOW_HOSTS": "127.0.0.1", "DEFAULT_CHECKPOINT": f"{server.url}/start.safetensors"}
        with running_host(tmp_path, more) as host:
            answer = Worker(host).run()
            assert answer["applied"]["checkpoint"].startswith("start-"), answer
