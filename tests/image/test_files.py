"""The Dockerfile, its scripts and its pins, read and linted: no engine and no network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from worker.settings import IMAGE_WEBUI_DIR

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = re.sub(r"\\\n\s*", " ", DOCKERFILE).splitlines()
VARIANTS = ("cu121", "cu128")
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)", re.MULTILINE)


def program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def pins(file: str) -> dict[str, str]:
    text = (ROOT / "docker" / file).read_text(encoding="utf-8")
    return {
        re.sub(r"[-_.]+", "-", name).lower(): re.sub(r"(\.0)+$", "", version) for name, version in PIN.findall(text)
    }


def arguments() -> dict[str, str]:
    return dict(re.findall(r"^ARG ([A-Z0-9_]+)=(.*)$", DOCKERFILE, re.MULTILINE))


def copied_files() -> set[str]:
    """Every path of the build context that the Dockerfile takes."""
    taken: set[str] = set()
    for line in INSTRUCTIONS:
        if line.startswith("COPY ") and "--from=" not in line:
            words = [word for word in line.split()[1:] if not word.startswith("--")]
            taken.update(words[:-1])
        if line.startswith("RUN "):
            for mount in re.findall(r"--mount=(type=bind\S*)", line):
                options = dict(part.split("=", 1) for part in mount.split(",") if "=" in part)
                if "from" not in options:
                    taken.add(options["source"])
    return {name.replace("${CUDA}", variant) for name in taken for variant in VARIANTS}


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [program("hadolint"), "--no-color", "Dockerfile"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_shellcheck_finds_nothing() -> None:
    scripts = ["start.sh", ".ci/run", *(str(file.relative_to(ROOT)) for file in (ROOT / "docker").glob("*.sh"))]
    done = subprocess.run([program("shellcheck"), *scripts], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_scripts_can_be_run() -> None:
    for script in (ROOT / "start.sh", *(ROOT / "docker").glob("*.sh")):
        assert script.stat().st_mode & 0o111, script


def test_what_the_dockerfile_takes_exists_and_is_let_through() -> None:
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    }
    for name in copied_files():
        assert (ROOT / name).exists(), name
        assert any(
            name == entry or name.startswith(f"{entry}/") or entry.startswith(f"{name}/") for entry in allowed
        ), name


def test_the_builder_sees_nothing_that_is_not_named() -> None:
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    let_through = [line[1:] for line in lines if line.startswith("!")]
    taken = copied_files() | {"models/cache_registry.json"}
    for entry in let_through:
        assert any(name == entry or name.startswith(f"{entry}/") for name in taken), f"{entry} is not used"


def test_sources_are_pinned_by_commit() -> None:
    commits = {name: value for name, value in arguments().items() if name.endswith(("_COMMIT", "_REVISION"))}
    assert len(commits) >= 9
    for name, value in commits.items():
        assert re.fullmatch(r"[0-9a-f]{40}", value), name
    for line in INSTRUCTIONS:
        if line.startswith("ADD "):
            assert re.search(r"\$\{[A-Z_]+_(COMMIT|REVISION)\}", line), line


def test_fetched_files_can_be_read_by_the_worker_s_user() -> None:
    for line in INSTRUCTIONS:
        if line.startswith("ADD ") and ".git#" not in line:
            assert "--chmod=644" in line, "BuildKit leaves what it fetches readable for root alone"


def test_every_image_is_a_pinned_argument_or_a_stage() -> None:
    stages = set(re.findall(r"^FROM .* AS (\S+)$", DOCKERFILE, re.MULTILINE))
    for image in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE):
        assert image in stages | {"scratch", "${PYTHON_IMAGE}", "webui-${WEBUI}"}, image
    assert re.search(r":\d+\.\d+\.\d+", arguments()["PYTHON_IMAGE"])
    assert {"webui-full", "webui-none"} <= stages
    assert re.match(r"# syntax=docker/dockerfile:\d+\.\d+$", DOCKERFILE.splitlines()[0])


def test_no_secret_is_an_argument_or_in_the_environment() -> None:
    for line in INSTRUCTIONS:
        if line.startswith(("ARG ", "ENV ")):
            assert not re.search(r"TOKEN|SECRET|PASSWORD|API_KEY", line), line
    assert DOCKERFILE.count("--mount=type=secret") == 2


def test_the_worker_finds_the_webui_where_the_image_puts_it() -> None:
    assert f"WEBUI_DIR={IMAGE_WEBUI_DIR} " in DOCKERFILE
    assert f"cp -r /tmp/sources/webui {IMAGE_WEBUI_DIR}\n" in DOCKERFILE


def test_the_default_variant_has_its_locks() -> None:
    assert arguments()["CUDA"] in VARIANTS


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_locks_hold_what_their_inputs_ask_for(variant: str) -> None:
    webui, torch, extensions = (pins(f"{part}-{variant}.lock") for part in ("webui", "torch", "extensions"))
    assert pins("webui.in").items() <= webui.items()
    assert pins(f"torch-{variant}.in").items() <= torch.items()
    assert pins("extensions.in").items() <= {**webui, **extensions}.items()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_layers_agree_on_every_version(variant: str) -> None:
    webui, torch, extensions = (pins(f"{part}-{variant}.lock") for part in ("webui", "torch", "extensions"))
    assert torch.items() <= webui.items()
    assert webui.keys() & extensions.keys() == {"protobuf"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_there_is_one_opencv_and_numpy_is_older_than_2(variant: str) -> None:
    everything = pins(f"webui-{variant}.lock") | pins(f"extensions-{variant}.lock")
    assert [name for name in everything if name.startswith("opencv")] == ["opencv-contrib-python-headless"]
    assert everything["numpy"].startswith("1.")
    assert everything["pydantic"].startswith("1.")
    assert "jax" not in everything


def test_locks_carry_hashes_and_no_addresses() -> None:
    for lock in (*(ROOT / "docker").glob("*.lock"), ROOT / "requirements" / "worker.lock"):
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text, lock
        for block in re.split(r"\n(?=\S)", text.strip()):
            assert "--hash=sha256:" in block, (lock, block)


def installing() -> list[tuple[str, str]]:
    """Every command of the repository that installs from a lock, with the file that it stands in."""
    files = [
        *(ROOT / name for name in ("Makefile", "Dockerfile", "README.md", "CONTRIBUTING.md")),
        *(
            file
            for folder in ("docker", "docs", ".github", ".ci", "tests/image")
            for file in (ROOT / folder).rglob("*")
        ),
    ]
    found = []
    for file in files:
        if file.is_file() and file.suffix not in {".lock", ".pyc"} and file != Path(__file__):
            text = re.sub(r"\\\n\s*", " ", file.read_text(encoding="utf-8", errors="replace"))
            found += [(file.name, line) for line in text.splitlines() if "--require-hashes" in line]
    return found


def test_whatever_installs_from_a_lock_resolves_nothing() -> None:
    commands = installing()
    assert {name for name, _ in commands} >= {"Makefile", "Dockerfile", "deploy.md", "test_install.py"}
    assert [command for command in commands if "--no-deps" not in command[1]] == []


def test_the_worker_has_no_torch() -> None:
    names = {name.lower() for name, _ in PIN.findall((ROOT / "requirements/worker.lock").read_text(encoding="utf-8"))}
    assert not names & {"torch", "xformers", "tensorflow", "jax"}
    assert "runpod" in names
