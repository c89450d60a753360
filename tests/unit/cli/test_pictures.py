from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from worker.cli.docs import drawn
from worker.cli.pictures import WIDTH, NotAPicture, draw

ROOT = Path(__file__).parents[3]
SVG = "{http://www.w3.org/2000/svg}"


def words(picture: str) -> list[str]:
    return ["".join(text.itertext()) for text in ET.fromstring(picture).iter(f"{SVG}text")]


def test_layers_become_boxes_with_their_names_and_meanings() -> None:
    assert words(draw("layers\na | first\nb | second || c | <third> & more\n")) == [
        "a",
        "first",
        "b",
        "second",
        "c",
        "<third> & more",
    ]


def test_a_life_has_actors_messages_and_notes() -> None:
    picture = draw("life\nactors A, B\nA -> B: hello\nB: thinks\n")
    assert words(picture) == ["A", "B", "hello", "thinks"]


@pytest.mark.parametrize(
    "text",
    ["", "tree\na | b", "layers\nno about", "life\nA -> B: x", "life\nactors A, B\nA -> C: x", "life\nactors A\nA"],
)
def test_a_text_that_is_no_picture_is_refused(text: str) -> None:
    with pytest.raises(NotAPicture):
        draw(text)


@pytest.mark.parametrize("picture", drawn(), ids=lambda path: path.stem)
def test_the_pictures_of_the_docs_are_those_of_their_texts(picture: Path) -> None:
    fresh = draw(picture.with_suffix(".txt").read_text(encoding="utf-8"))
    assert picture.read_text(encoding="utf-8") == fresh, "run `make docs`"


@pytest.mark.parametrize("picture", drawn(), ids=lambda path: path.stem)
def test_the_pictures_stay_within_their_frame(picture: Path) -> None:
    root = ET.fromstring(picture.read_text(encoding="utf-8"))
    for box in root.iter(f"{SVG}rect"):
        assert float(box.get("x", 0)) >= 0
        assert float(box.get("x", 0)) + float(box.get("width", 0)) <= WIDTH


def test_every_folder_and_file_in_the_architecture_picture_exists() -> None:
    text = (ROOT / "docs/pictures/architecture.txt").read_text(encoding="utf-8")
    names = [box.split("|")[0].strip() for line in text.splitlines()[2:] for box in line.split("||")]
    for name in names:
        assert (ROOT / name).exists() or (ROOT / "worker" / name).exists(), name
