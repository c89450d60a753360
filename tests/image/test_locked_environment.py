"""The worker in an environment made from `requirements/worker.lock` alone does all of its work."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
import requests
from packaging.requirements import Requirement
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from tests.support import webui_dir
from tests.support.documents.locked_environment import (
    ROOT,
    locked_distributions,
    locked_names,
    make_environment,
    normalise,
)
from tests.support.jobsource import JobSource
from tests.support.loopback_http import Reply, serve
from tests.support.ports import free_port
from tests.support.servers.s3 import ACCESS_KEY, SECRET_KEY, running_store
from tests.support.workerproc import WorkerProcess

if TYPE_CHECKING:
    from pathlib import Path

OPTIONAL = {"numpy", "onnxruntime", "opentelemetry"}
"""Of the check on pictures and of traces, which say so where they are missing: extras of the package."""

EXCLUDED = ROOT / "requirements" / "excluded.txt"
UNUSED_BY_THE_WORKER = {
    ("runpod", "inquirerpy"),
    ("runpod", "prettytable"),
    ("runpod", "watchdog"),
    ("paramiko", "invoke"),
}
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
    return make_environment(tmp_path_factory.mktemp("locked") / "packages")


def search_path(packages: Path) -> dict[str, str]:
    return {"PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"}


def patient_session() -> requests.Session:
    session = requests.Session()
    session.mount(
        "http://",
        HTTPAdapter(max_retries=Retry(total=300, backoff_factor=0.1, backoff_max=0.1, status_forcelist=[503])),
    )
    return session


def _needing_extras(trees: dict[Path, ast.Module]) -> set[str]:
    """Return the modules that can be imported with the extras alone, directly or through each other."""
    names = {file: ".".join(file.relative_to(ROOT).with_suffix("").parts) for file in trees}
    extra: set[str] = set()
    while True:
        more = {names[file] for file, tree in trees.items() if names[file] not in extra and _needs(tree, extra)}
        if not more:
            return extra
        extra |= more


def _needs(tree: ast.Module, extra: set[str]) -> bool:
    for node in tree.body:
        if isinstance(node, ast.Import) and node.names[0].name in OPTIONAL:
            return True
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            wanted = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            if wanted & extra or node.module.partition(".")[0] in OPTIONAL:
                return True
    return False


def imports() -> set[str]:
    """Return what the worker's code imports anywhere, in functions too, as ``module:name``."""
    found: set[str] = set()
    files = (*(ROOT / "worker").rglob("*.py"), ROOT / "handler.py")
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    extra = _needing_extras(trees)
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {f"{alias.name}:" for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                own = node.module.partition(".")[0] == "worker"  # mypy has looked at the names in our modules
                found |= {f"{node.module}:"} if own else {f"{node.module}:{alias.name}" for alias in node.names}
    older = {"async_timeout"} if sys.version_info >= (3, 11) else set()  # only Python 3.10 lacks asyncio.timeout
    known = {"__future__", "_typeshed", *OPTIONAL, *older, *sys.stdlib_module_names}
    found = {name for name in found if name.partition(":")[0] not in extra and name.replace(":", ".") not in extra}
    return {name for name in found if name.partition(":")[0].partition(".")[0] not in known}


def test_only_the_sdk_requires_what_the_lock_leaves_out() -> None:
    excluded = set(re.findall(r"^[a-z][a-z0-9-]*", EXCLUDED.read_text(encoding="utf-8"), re.MULTILINE))
    assert excluded
    assert not excluded & locked_names()
    found = set()
    for package in locked_distributions():
        for requirement in map(Requirement, package.requires or ()):
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and normalise(requirement.name) in excluded:
                found.add((normalise(package.metadata["Name"]), normalise(requirement.name)))
    assert found <= UNUSED_BY_THE_WORKER


def test_everything_that_the_worker_imports_is_there(packages: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM, *sorted(imports())],
        env=search_path(packages),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_hugging_face_client_reaches_a_server(packages: Path) -> None:
    program = (
        "import sys, huggingface_hub as hub\nprint(hub.HfApi(endpoint=sys.argv[1]).model_info('org/repository').sha)\n"
    )
    told = json.dumps({"id": "org/repository", "sha": "abc123", "siblings": []}).encode()
    with serve(lambda _: Reply(200, told, {"Content-Type": "application/json"})) as hub:
        done = subprocess.run(
            [sys.executable, "-S", "-c", program, hub.url],
            env=search_path(packages),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert (done.stdout.strip(), done.returncode) == ("abc123", 0), done.stderr[-3000:]


def test_the_sdks_loop_takes_jobs_and_delivers_pictures_inline_and_to_a_store(packages: Path, tmp_path: Path) -> None:
    with running_store() as store, JobSource() as source:
        store.make_bucket(BUCKET)
        variables = webui_dir.environment(
            tmp_path,
            {
                **source.worker_env(),
                **search_path(packages),
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


@pytest.mark.slow
def test_it_serves_jobs_over_http(packages: Path, tmp_path: Path) -> None:
    port = str(free_port())
    more = {**search_path(packages), "HTTP_PORT": port}
    with WorkerProcess(["-S", "-m", "worker", "serve"], webui_dir.environment(tmp_path, more), tmp_path) as process:
        url, session = f"http://127.0.0.1:{port}", patient_session()
        assert session.get(f"{url}/ready", timeout=60).status_code == HTTPStatus.OK
        answer = session.post(f"{url}/runsync", json={"input": JOB}, timeout=60).json()
        assert answer["status"] == "COMPLETED"
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.slow
def test_the_sdks_own_test_server_answers_a_job(packages: Path, tmp_path: Path) -> None:
    port = str(free_port())
    arguments = ["-S", str(ROOT / "handler.py"), "--rp_serve_api", "--rp_api_port", port]
    with WorkerProcess(arguments, webui_dir.environment(tmp_path, search_path(packages)), tmp_path) as process:
        answer = patient_session().post(f"http://127.0.0.1:{port}/runsync", json={"input": JOB}, timeout=60).json()
        assert answer["status"] == "COMPLETED", process.log[-3000:]
        assert answer["output"]["seeds"] == [1]
