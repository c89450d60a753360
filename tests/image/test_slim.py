"""The image's Python environment, in which what the worker never imports is left out, does all of the worker's work."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from tests.support import webui_dir
from tests.support.jobsource import JobSource
from tests.support.ports import free_port
from tests.support.s3 import ACCESS_KEY, SECRET_KEY, running_store
from tests.support.slim_env import ROOT, image_environment
from tests.support.workerproc import WorkerProcess

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 120e6
EXTRAS = {"numpy", "onnxruntime"}
"""Of the check on pictures, which says so where they are missing; the image leaves them to whoever wants it."""

BUCKET = "pictures"
PROGRAM = """
import importlib, sys
for module, _, name in (word.partition(":") for word in sys.argv[1:]):
    found = importlib.import_module(module)
    if name and not hasattr(found, name):
        importlib.import_module(f"{module}.{name}")
"""
JOB = {"prompt": "a lighthouse", "steps": 1, "width": 64, "height": 64, "seed": 1}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_environment(tmp_path_factory.mktemp("slim") / "packages")


def imports() -> set[str]:
    """Return what the worker's code imports anywhere, in functions too, as ``module:name``."""
    found: set[str] = set()
    for file in (*(ROOT / "worker").rglob("*.py"), ROOT / "handler.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {f"{alias.name}:" for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found |= {f"{node.module}:{alias.name}" for alias in node.names}
    known = {"__future__", "_typeshed", *EXTRAS, *sys.stdlib_module_names}
    return {name for name in found if name.partition(":")[0].partition(".")[0] not in known}


def test_it_is_small(packages: Path) -> None:
    assert sum(path.stat().st_size for path in packages.rglob("*") if path.is_file()) <= LARGEST


def test_everything_that_the_worker_imports_is_there(packages: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM, *sorted(imports())],
        env={"PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_sdks_loop_takes_jobs_and_delivers_pictures_inline_and_to_a_store(packages: Path, tmp_path: Path) -> None:
    with running_store() as store, JobSource() as source:
        store.make_bucket(BUCKET)
        variables = webui_dir.environment(
            tmp_path,
            {
                **source.worker_env(),
                "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}",
                "BUCKET_ENDPOINT_URL": store.url,
                "BUCKET_NAME": BUCKET,
                "BUCKET_ACCESS_KEY_ID": ACCESS_KEY,
                "BUCKET_SECRET_ACCESS_KEY": SECRET_KEY,
                "PORT_HEALTH": str(free_port()),
            },
        )
        with WorkerProcess(["-S", str(ROOT / "handler.py")], variables, tmp_path) as process:
            wishes = [{}, {"delivery": "s3", "format": "webp", "thumbnail": 32, "blurhash": True}, {"format": "jpeg"}]
            names = [source.offer({"input": {**JOB, "output": wish}}) for wish in wishes]
            results = [source.wait_result(name, 90) for name in names]
            assert [result.error for result in results] == [None] * 3, process.log[-3000:]
            assert len(store.keys(BUCKET)) == 2
            assert requests.get(f"http://127.0.0.1:{variables['PORT_HEALTH']}/health", timeout=10).ok
            process.terminate()
            assert process.wait(30) == 0


def test_it_serves_jobs_over_http(packages: Path, tmp_path: Path) -> None:
    port = str(free_port())
    more = {"PYTHONPATH": f"{packages}{os.pathsep}{ROOT}", "HTTP_PORT": port}
    with WorkerProcess(["-S", "-m", "worker", "serve"], webui_dir.environment(tmp_path, more), tmp_path) as process:
        session = requests.Session()
        session.mount("http://", HTTPAdapter(max_retries=Retry(total=200, backoff_factor=0.1, backoff_max=0.1)))
        answer = session.post(f"http://127.0.0.1:{port}/runsync", json={"input": JOB}, timeout=60).json()
        assert answer["status"] == "COMPLETED"
        process.terminate()
        assert process.wait(30) == 0
