"""What is imported before the WebUI is spawned: by count and by name, not by seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.webui_dir import environment
from worker.default_checkpoint import plain_file

BUDGET = 380
LATER = {
    "PIL",
    "aiohttp",
    "boto3",
    "botocore",
    "huggingface_hub",
    "prometheus_client",
    "requests",
    "runpod",
    "starlette",
    "urllib3",
    "uvicorn",
    "worker.models",
    "worker.recovery",
    "worker.serving",
}
PROGRAM = """
import json, os, sys
seen = []
os.register_at_fork(before=lambda: seen.append(sorted(sys.modules)))
import handler
from worker.app import Worker
from worker.settings import read_settings
host = Worker(read_settings(os.environ), os.environ)
host.spawn()
sys.__stdout__.write("@" + json.dumps(seen[0]) + "\\n")
sys.__stdout__.flush()
host.close()
os._exit(0)
"""


def test_nothing_slow_is_imported_before_the_webui_is_spawned(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**environment(tmp_path), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("@")), None)
    assert line is not None, done.stderr
    modules = json.loads(line[1:])
    names = {".".join(name.split(".")[:depth]) for name in modules for depth in (1, 2)}
    assert names & LATER == set()
    assert len(modules) <= BUDGET


def test_a_checkpoint_that_is_simply_named_is_found_without_the_store(tmp_path: Path) -> None:
    file = tmp_path / "Deliberate_v6.safetensors"
    file.touch()
    (tmp_path / "old.ckpt").touch()
    assert plain_file(tmp_path, "Deliberate_v6") == file
    assert plain_file(tmp_path, "Deliberate_v6.safetensors") == file
    for other in ("", "Deliberate v6", "old.ckpt", "old", f"../{tmp_path.name}/Deliberate_v6", str(file)):
        assert plain_file(tmp_path, other) is None
