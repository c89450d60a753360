from __future__ import annotations

from xml.etree import ElementTree as ET

from tools.terminal_svg import COMMANDS, FOREGROUND, PICTURE, READ_S, Recording, Screen, colour_of, stretches, svg


def shown(text: str) -> list[str]:
    screen = Screen()
    screen.write(text)
    return ["".join(part for part, _ in line) for line in screen.lines()]


def test_a_line_that_is_written_over_or_erased_shows_what_came_last() -> None:
    assert shown("10 %\r20 %\r\n")[:1] == ["20 %"]
    assert shown("bar\r\n\x1b[1A\x1b[2KPicture: out/001.png")[:1] == ["Picture: out/001.png"]


def test_colours_are_those_of_terminals() -> None:
    assert colour_of("38;5;197") == "#ff005f"
    assert colour_of("38;5;237") == "#3a3a3a"
    assert colour_of("1;31") == "#ff7b72"
    assert colour_of("0") == FOREGROUND


def test_a_line_is_drawn_for_the_time_in_which_it_was_there() -> None:
    recording = Recording()
    recording.show("one\r\n", 0.1)
    recording.show("two", 0.2)
    recording.show("\r\x1b[2Kthree", 9.0)
    total = recording.now + READ_S
    assert [(round(begin, 1), round(end, 1)) for begin, end, _ in stretches(recording, 1, total)] == [
        (0.3, 0.8),
        (0.8, 2.8),
    ]
    assert len(ET.fromstring(svg(recording)).findall("{http://www.w3.org/2000/svg}text")) == 3


def test_the_picture_of_the_readme_shows_the_commands_and_what_they_end_with() -> None:
    root = ET.parse(PICTURE).getroot()
    lines = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    for command in COMMANDS:
        assert f"$ {command.typed}" in lines
    assert "Picture: out/001.png" in lines
    assert "6 pictures at http://127.0.0.1:8100/gallery/" in lines
