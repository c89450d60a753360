"""The commands and programs of each page, run one after the other as a reader would, in a folder of their own."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import requests
import yaml
from urllib3.util import Retry

from tests.support import models
from tests.support.documents.pages import PAGES, ROOT, examples
from tests.support.loopback_http import Reply, serve
from tests.support.ports import free_port
from tests.support.servers.fake_runpod import Account, running_endpoints
from tests.support.webui_dir import environment
from tests.support.workerproc import WorkerProcess
from worker.cli.main import COMMANDS
from worker.settings import variables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.documents.pages import Example

RUN = [
    page for page in PAGES if any(one.language in {"bash", "python"} and one.reason is None for one in examples(page))
]
LONG = {"deploy", "models", "openai", "operating"}
"""Pages whose commands take the most time."""

PORTS = ("8000", "8080", "9100", "7861")
"""Written in the pages; other tests may have them."""

KEY = "rpa_sesame"
"""In the place of the dots that stand for a key."""


@dataclass
class Reader:
    """Somebody who types what a page says.

    Attributes:
        folder: Where.
        variables: Exported so far.
        places: What stands in the page, and what it is on this machine.
    """

    folder: Path
    variables: dict[str, str]
    places: dict[str, str]
    servers: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def settle(self, text: str) -> str:
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    def type(self, example: Example) -> None:
        text = self.settle(example.text)
        if example.keeps_running:
            self.start(text)
            return
        exported = self.folder / "exported"
        command = (
            ["bash", "-euo", "pipefail", "-c", f'{text}\nenv -0 >"{exported}"']
            if example.language == "bash"
            else [sys.executable, "-c", text]
        )
        terminal, mine = pty.openpty()
        os.write(terminal, b"y\n" * 9)  # to whatever is asked
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.variables,
            stdin=mine,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        os.close(terminal)
        os.close(mine)
        assert done.returncode == 0, f"{example}:\n{text}\n{done.stdout}\n{done.stderr}"
        if example.language == "bash":
            pairs = exported.read_text(encoding="utf-8").rstrip("\0").split("\0")
            self.variables = dict(pair.split("=", 1) for pair in pairs)

    def start(self, text: str) -> None:
        assigned, _, arguments = text.removeprefix("python -m ").replace(" python -m ", " ").partition("worker ")
        variables = dict(word.split("=", 1) for word in assigned.split())
        process = WorkerProcess(["-m", "worker", *arguments.split()], {**self.variables, **variables}, self.folder)
        self.servers.enter_context(process)
        session = requests.Session()
        patient = Retry(total=20, connect=20, backoff_factor=0.1, backoff_max=1, status_forcelist=(503,))
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=patient))
        assert session.get(f"http://127.0.0.1:{self.places[':8000'][1:]}/ready", timeout=30).status_code == 200


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    bin_ = tmp_path / ".venv" / "bin"  # as `make run` leaves it
    bin_.mkdir(parents=True)
    for name, arguments in (("python", ""), ("worker", " -m worker")):
        (bin_ / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{arguments} "$@"\n', encoding="utf-8")
        (bin_ / name).chmod(0o755)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    variables = environment(tmp_path) | {
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "ALLOW_HOSTS": "127.0.0.1",
        "MODEL_FREE_BYTES": "0",
    }
    model = models.checkpoint(tmp_path / "served.safetensors").read_bytes()
    account = Account()
    with serve(account.answer) as rest, serve(lambda _: Reply(200, model)) as site, running_endpoints() as endpoints:
        ports = {port: str(free_port()) for port in PORTS}
        account.key = endpoints.key = KEY
        endpoints.worker = f"http://127.0.0.1:{ports['8000']}"
        endpoints.worker_key = "change-me"
        variables["RUNPOD_ENDPOINT_BASE_URL"] = endpoints.url
        places = {
            "…": KEY,
            "https://api.runpod.io/v2": f"{rest.url}/v2",
            "worker deploy ": f"worker deploy --api {rest.url}/v2 ",
            "worker plan ": "worker plan --jobs 100 ",
            "https://example.com": site.url,
            "/workspace/models": str(tmp_path / "workspace/models"),
            **{f":{port}": f":{mine}" for port, mine in ports.items()},
            **{f"PORT={port}": f"PORT={mine}" for port, mine in ports.items()},
            **{f"HEALTH={port}": f"HEALTH={mine}" for port, mine in ports.items()},
            **{f"--port {port}": f"--port {mine}" for port, mine in ports.items()},
            **{f"port={port}": f"port={mine}" for port, mine in ports.items()},
        }
        one = Reader(tmp_path, variables, places)
        with one.servers:
            yield one


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] if page.stem in LONG else [], id=page.stem) for page in RUN],
)
def test_a_page_s_commands_and_programs_run(reader: Reader, page: Path) -> None:
    for example in examples(page):
        if example.language in {"bash", "python"} and example.reason is None:
            reader.type(example)


def test_every_command_that_a_page_names_exists() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        typed = "\n".join(example.text for example in examples(page) if example.language == "bash")
        for name in [
            *re.findall(r"(?:python -m |`)worker ([a-z]+)", text),
            *re.findall(r"^worker ([a-z]+)", typed, re.MULTILINE),
        ]:
            assert name in COMMANDS, f"{page.name}: {name}"


def test_the_manifest_s_variables_and_paths_exist() -> None:
    known = {name for variable in variables() for name in variable.names}
    for page in PAGES:
        for example in examples(page):
            if example.language == "yaml" and "kind: Deployment" in example.text:
                pod = yaml.safe_load(example.text)["spec"]["template"]["spec"]["containers"][0]
                assert {variable["name"] for variable in pod["env"]} <= known
                paths = {probe["httpGet"]["path"] for name, probe in pod.items() if name.endswith("Probe")}
                assert paths <= {"/ping", "/ready", "/health"}
