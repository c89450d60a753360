"""The guides: every command runs, every body is the one that `deploy` sends, every name exists."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from worker.cli.deploy.deployment_presets import PRESETS
from worker.cli.deploy.gpus import DOCUMENTED
from worker.cli.deploy.request import Options, wanted
from worker.cli.main import main
from worker.errors import all_errors
from worker.settings import variables

ROOT = Path(__file__).parents[2]
DEPLOY = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
TROUBLE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ *worker (deploy .*--image.*)$", DEPLOY, re.MULTILINE)
NOT_OURS = {
    "RUNPOD_API_KEY",
    "RUNPOD_INIT_TIMEOUT",
    "RUN_AS",
    "VOLUME_ID",
    "REQUEST_COUNT",
    "QUEUE_DELAY",
    "PYTHON_IMAGE",
    "EXTENSIONS",
    "BAKE",
    "UPSCALERS",
    "ANNOTATORS",
    "WEBUI",
    "CUDA",
    "WEBUI_COMMIT",
    "DOCKER_BUILDKIT",
    "COMPLETED",
}


def bodies() -> list[dict[str, Any]]:
    return [json.loads(body) for body in re.findall(r"-d '(\{.*?\n\})'", DEPLOY, re.DOTALL)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_deploy_command_is_one_that_works(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    arguments = shlex.split(command)
    if "--dry-run" not in arguments:
        arguments.append("--dry-run")
    assert main(arguments) == 0
    assert "create endpoint" in capsys.readouterr().out


def test_there_are_commands_to_run() -> None:
    assert len(COMMANDS) >= 3


def test_the_rest_body_is_the_one_that_deploy_sends() -> None:
    (endpoint,) = bodies()
    options = Options(image=endpoint["image"], volume_id=endpoint["networkVolumes"][0])
    assert endpoint == wanted(options, DOCUMENTED)[0].endpoint


def test_the_presets_are_the_ones_there_are() -> None:
    rows_ = re.findall(r"^\| `([\w-]+)` \| .* \| 0.(\d) \| (\d+) s(?: \(.*\))? \|", DEPLOY, re.MULTILINE)
    table = {row[0]: row for row in rows_}
    assert table == {key: (key, str(p.workers_max), str(p.idle_s)) for key, p in PRESETS.items()}


def test_every_variable_in_the_text_exists() -> None:
    known = {name for variable in variables() for name in variable.names} | NOT_OURS
    for text in (DEPLOY, TROUBLE):
        named = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)", text)) | set(
            re.findall(r"^    ([A-Z_]{5,}) +=", text, re.MULTILINE)
        )
        assert named <= known, named - known


def test_every_error_is_explained() -> None:
    codes = set(re.findall(r"^\| `([a-z_]+)` \| [A-Z]", TROUBLE, re.MULTILINE))
    assert codes
    assert codes <= {error.code for error in all_errors()}


def test_build_arguments_are_the_dockerfile_s() -> None:
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| (?:`([^`]*)`)? ?\|", DEPLOY, re.MULTILINE))
    there = {name: value.strip('"') for name, value in re.findall(r"^ARG ([A-Z_]+)=(.*)$", DOCKERFILE, re.MULTILINE)}
    for name in ("CUDA", "BAKE", "UPSCALERS", "ANNOTATORS", "EXTENSIONS", "WEBUI"):
        assert told[name] == there[name], name


def test_prices_per_hour_follow_from_those_per_second() -> None:
    prices = re.findall(r"^\| .* \| (0\.000\d+) \| (\d\.\d\d) \|$", DEPLOY, re.MULTILINE)
    assert len(prices) == 5
    for second, hour in prices:
        assert round(float(second) * 3600, 2) == float(hour)


@pytest.mark.parametrize("name", ["docs/deploy.md", "docs/troubleshooting.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    file = ROOT / name
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", file.read_text(encoding="utf-8")):
        other = (file.parent / target) if target else file
        assert other.exists(), target
        headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert not anchor or anchor in slugs, anchor


def test_the_make_targets_of_the_guide_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
