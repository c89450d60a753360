"""The examples of CONTRIBUTING's "Add one of each kind", each registered in a real worker and used by a job."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from tests.integration.conftest import Worker
from tests.support import models
from tests.support.documents.pages import ROOT, examples
from tests.support.loopback_http import Reply, Request, serve
from tests.support.webui_dir import running_host
from worker.contract.accept import accept
from worker.contract.compat import forms
from worker.contract.schema import schema
from worker.contract.types import kinds
from worker.jobs import kinds as jobs_kinds
from worker.jobs.kinds import dispatch
from worker.models.sources import references
from worker.storage import stores

if TYPE_CHECKING:
    import pytest

EXAMPLES = {
    one.text.splitlines()[0].removeprefix("# "): one.text
    for one in examples(ROOT / "CONTRIBUTING.md")
    if one.language == "python"
}
SMALL: dict[str, Any] = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 1}


def load(path: str, monkeypatch: pytest.MonkeyPatch, **replaced: str) -> Any:
    """Return the example for `path` as a module that can be imported; `replaced` are texts that this machine lacks."""
    text = EXAMPLES[path]
    for there, here in replaced.items():
        text = text.replace(there, here)
    name = path.removesuffix(".py").replace("/", ".")
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(text, path, "exec"), module.__dict__)
    return module


def test_a_source_brings_a_job_s_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = models.checkpoint(tmp_path / "served.safetensors").read_bytes()
    with serve(lambda _: Reply(200, data)) as site:
        mirror = load("worker/models/sources/mirror.py", monkeypatch, **{"https://example.com": site.url})
        monkeypatch.setattr(references, "SOURCES", (mirror.MIRROR, *references.SOURCES))
        with running_host(tmp_path, {"ALLOW_HOSTS": "127.0.0.1", "MODEL_FREE_BYTES": "0"}) as host:
            answer = Worker(host).run(checkpoint="mirror:sd15/mine.safetensors")
    assert answer["applied"]["checkpoint"].startswith("mine"), answer
    assert {request.path for request in site.seen} == {"/models/sd15/mine.safetensors"}


def test_a_store_keeps_a_job_s_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    webdav = load("worker/storage/webdav.py", monkeypatch)
    monkeypatch.setitem(stores.STORES, "dav", webdav.WEBDAV)
    stored: dict[str, bytes] = {}

    def answer(request: Request) -> Reply:
        if request.method == "PUT":
            stored[request.path] = request.body
        return Reply(201)

    with serve(answer) as site, running_host(tmp_path, {"ALLOW_HOSTS": "127.0.0.1"}) as host:
        place = {
            "accessId": "me",
            "accessSecret": "sesame",
            "bucketName": "pics",
            "endpointUrl": site.url.replace("http", "dav"),
        }
        job = {"input": {**SMALL, "output": {"delivery": "s3"}}, "s3Config": place}
        told = Worker(host).run_job(job)
    assert told["images"] == [f"{site.url}/pics/job-1/0-1.png"], told
    assert [data[:4] for data in stored.values()] == [b"\x89PNG"]


def test_a_check_of_one_s_own_refuses_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load("studio_checks.py", monkeypatch)
    check = {"IMAGE_CHECK": "studio_checks:flatness", "IMAGE_CHECK_LABELS": "flat", "RERUNS": "0"}
    with running_host(tmp_path, {**check, "IMAGE_CHECK_THRESHOLD": "0.0001"}) as host:
        refused = Worker(host).run()
    with running_host(tmp_path, {**check, "IMAGE_CHECK_THRESHOLD": "1"}) as host:
        passed = Worker(host).run()
    assert refused["error_code"] == "image_refused", refused
    assert "images" in passed, passed


def test_a_judge_of_one_s_own_scores_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load("studio_judges.py", monkeypatch)
    with running_host(tmp_path, {"JUDGES": "studio_judges:brightness"}) as host:
        worker = Worker(host)
        passed = worker.run(accept={"count": 1, "judges": [{"name": "brightness", "least": 0}]})
        rejected = worker.run(accept={"count": 1, "at_most": 1, "judges": [{"name": "brightness", "least": 1}]})
    (score,) = (row["brightness"]["score"] for row in passed["judged"])
    assert 0 < score < 1, passed
    assert rejected["images"] == [], rejected


def test_a_kind_of_job_is_answered_and_its_mistakes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roll = load("worker/jobs/kinds/roll.py", monkeypatch)
    source = Path(dispatch.__file__).read_text(encoding="utf-8")
    line, imported = "    Continue: continuation.continue_workflow,\n", "from worker.jobs.workflow import"
    assert line in source
    source = source.replace(line, f"{line}    roll.Roll: roll.roll,\n")
    source = source.replace(imported, f"from worker.jobs.kinds import roll\n{imported}", 1)
    monkeypatch.setattr(jobs_kinds, "roll", roll, raising=False)
    with patch.dict(kinds.KINDS), patch.dict(kinds.TYPE_WORDS), running_host(tmp_path) as host:
        changed: dict[str, Any] = {"__name__": dispatch.__name__}
        exec(compile(source, "dispatch.py", "exec"), changed)
        monkeypatch.setattr(dispatch, "KINDS", changed["KINDS"])
        assert "Roll" in schema()["$defs"]
        answer = Worker(host).run_job({"input": {"type": "roll", "count": 3}})
        mistake = Worker(host).run_job({"input": {"type": "roll", "count": 300}})
    assert len(set(answer["seeds"])) == 3, answer
    assert mistake["details"]["problems"][0]["path"] == "count", mistake


def test_a_form_is_read_and_answered_in_its_clients_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bot = load("worker/contract/compat/bot.py", monkeypatch)
    monkeypatch.setattr(forms, "FORMS", (*forms.FORMS, bot.BOT))
    job: Any = accept({"text": "a fox", "shape": "wide", "steps": 20}).job
    assert (job.prompt, job.width, job.height, job.steps) == ("a fox", 768, 512, 20)
    with running_host(tmp_path) as host:
        small = {name: value for name, value in SMALL.items() if name != "prompt"}
        answer = Worker(host).run_job({"input": {"text": "a fox", **small}})
        mistake = Worker(host).run_job({"input": {"text": 7, "steps": 9000}})
    assert (set(answer), answer["seed"]) == ({"picture", "seed"}, 1), answer
    assert {problem["path"] for problem in mistake["details"]["problems"]} == {"text", "steps"}, mistake


def test_every_example_of_a_kind_is_used_here() -> None:
    assert {path.rsplit("/", 1)[-1] for path in EXAMPLES} == {
        "mirror.py",
        "webdav.py",
        "studio_checks.py",
        "studio_judges.py",
        "roll.py",
        "bot.py",
    }
