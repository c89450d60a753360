"""``python -m tools.terminal_svg``: docs/images/terminal.svg, an animated terminal of the first minute.

Runs the commands for real on a terminal of its own, with the stand-in, and draws what was on the screen and when.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "terminal.svg"
COLUMNS, ROWS = 96, 10
LONGEST_PAUSE_S = 0.5
"""Of the animation; a longer one of the program is cut."""
READ_S = 2.0
"""Time to read after each command."""
LINE_PX, CHARACTER_PX, MARGIN_PX = 19, 8.4, 16
BACKGROUND, FOREGROUND, PROMPT = "#11151c", "#d7dce4", "#7ee787"
_TOKENS = re.compile(r"\x1b\[([0-9;?]*)([a-zA-Z])|([\r\n])|([^\x1b\r\n]+)")
_SHADES = {"31": "#ff7b72", "32": PROMPT, "33": "#e3b341", "36": "#79c0ff", "35": "#d2a8ff"}


@dataclass(frozen=True, slots=True)
class ShownCommand:
    """One command of the animation.

    Attributes:
        typed: As a person types it.
        argv: What runs.
        until: A text after which Ctrl-C is pressed; "": it ends by itself.
    """

    typed: str
    argv: tuple[str, ...]
    until: str = ""


WORKER = (sys.executable, "-m", "worker")
COMMANDS = (
    ShownCommand("make run", (sys.executable, str(ROOT / "handler.py"))),
    ShownCommand(
        "worker batch examples/portraits.yaml --until base --count 6 --out portraits",
        (*WORKER, "batch", "examples/portraits.yaml", "--until", "base", "--count", "6", "--out", "portraits"),
    ),
    ShownCommand("worker gallery portraits", (*WORKER, "gallery", "portraits"), until="pictures at"),
)


@dataclass(slots=True)
class Screen:
    """The rows of a terminal, each a list of characters with their colours."""

    rows: list[list[tuple[str, str]]] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    colour: str = FOREGROUND

    def write(self, text: str) -> None:
        """Write as a program does, colours and moves of the cursor included."""
        for count, command, move, plain in _TOKENS.findall(text):
            if move == "\r":
                self.column = 0
            elif move == "\n":
                self.row, self.column = self.row + 1, 0
                self.rows += [[] for _ in range(self.row + 1 - len(self.rows))]
            elif command == "A":
                self.row = max(0, self.row - int(count or 1))
            elif command == "K":
                self.rows[self.row] = []
            elif command == "m":
                self.colour = colour_of(count)
            elif plain:
                self._put(plain)

    def _put(self, plain: str) -> None:
        cells = self.rows[self.row]
        cells += [(" ", FOREGROUND)] * (self.column - len(cells))
        cells[self.column : self.column + len(plain)] = [(letter, self.colour) for letter in plain]
        self.column += len(plain)

    def lines(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Return the last `ROWS` rows as runs of one colour."""
        return tuple(runs(cells) for cells in self.rows[-ROWS:])


def colour_of(codes: str) -> str:
    """Return the colour that a terminal's code stands for; what is not known is plain."""
    extended = re.fullmatch(r"(?:\d;)?38;5;(\d+)", codes)
    if extended is not None:
        number = int(extended.group(1))
        if number >= 232:  # noqa: PLR2004 - the greys of the 256 colours
            level = 8 + (number - 232) * 10
            return f"#{level:02x}{level:02x}{level:02x}"
        parts = [(number - 16) // weight % 6 for weight in (36, 6, 1)]
        return "#" + "".join(f"{0 if part == 0 else 55 + part * 40:02x}" for part in parts)
    return next((shade for code, shade in _SHADES.items() if code in codes.split(";")), FOREGROUND)


def runs(cells: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return neighbouring characters of one colour as one text."""
    found: list[tuple[str, str]] = []
    for letter, colour in cells:
        if found and found[-1][1] == colour:
            found[-1] = (found[-1][0] + letter, colour)
        else:
            found.append((letter, colour))
    return tuple(found)


@dataclass(slots=True)
class Recording:
    """The contents of the screen over time."""

    screen: Screen = field(default_factory=Screen)
    now: float = 0.0
    frames: list[tuple[float, tuple[tuple[tuple[str, str], ...], ...]]] = field(default_factory=list)

    def show(self, text: str, after_s: float) -> None:
        """Write `text`, `after_s` seconds after what was written before."""
        self.now += min(after_s, LONGEST_PAUSE_S)
        self.screen.write(text)
        self.frames.append((self.now, self.screen.lines()))

    def prompt(self, typed: str) -> None:
        """Show the prompt, and the command letter by letter."""
        self.screen.colour = PROMPT
        self.show("$ ", 0.2)
        self.screen.colour = FOREGROUND
        for letter in typed:
            self.show(letter, 0.03)
        self.show("\r\n", 0.3)


def play(command: ShownCommand, recording: Recording, folder: Path) -> None:
    """Run a command in `folder` and record its output."""
    recording.prompt(command.typed)
    ours, theirs = pty.openpty()
    variables = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "PYTHONPATH": str(ROOT)}
    argv = ["setsid", "--ctty", "--wait", *command.argv]
    process = subprocess.Popen(argv, cwd=folder, env=variables, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    last, seen = time.monotonic(), ""
    while True:
        select.select([ours], [], [])
        try:
            data = os.read(ours, 65536)
        except OSError:  # the program has ended
            break
        if not data:
            break
        now = time.monotonic()
        text = data.decode("utf-8", "replace")
        recording.show(text, now - last)
        last, seen = now, seen + text
        if command.until and command.until in seen and seen.endswith("\n"):
            recording.now += READ_S
            command, seen = ShownCommand(command.typed, command.argv), ""
            os.write(ours, b"\x03")
    os.close(ours)
    if process.wait() not in (0, 130, -signal.SIGINT):
        raise SystemExit(f"{command.typed} ended with {process.returncode}")
    recording.now += READ_S


def svg(recording: Recording) -> str:
    """Return the animation; each line is drawn once for each stretch of time in which it was there."""
    total = recording.now + READ_S
    texts: list[str] = []
    styles: list[str] = []
    for row in range(ROWS):
        for begin, end, line in stretches(recording, row, total):
            name = f"k{len(styles)}"
            shown, gone = 100 * begin / total, 100 * end / total
            steps = f"0%{{opacity:0}}{shown:.2f}%{{opacity:1}}{gone:.2f}%{{opacity:{int(end >= total)}}}"
            styles.append(f"@keyframes {name}{{{steps}}}.{name}{{animation-name:{name}}}")
            spans = "".join(f'<tspan fill="{colour}">{escape(text)}</tspan>' for text, colour in line)
            texts.append(f'<text class="{name}" x="{MARGIN_PX}" y="{MARGIN_PX + 14 + row * LINE_PX}">{spans}</text>')
    width, height = round(COLUMNS * CHARACTER_PX + 2 * MARGIN_PX), ROWS * LINE_PX + 2 * MARGIN_PX
    style = (
        f"text{{font:14px ui-monospace,Menlo,Consolas,monospace;white-space:pre;opacity:0;"
        f"animation:{total:.2f}s step-end infinite}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><title>A terminal: a picture, a batch of six, the gallery</title>'
        f'<style>{style}{"".join(styles)}</style><rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>'
        f"{''.join(texts)}</svg>\n"
    )


def stretches(recording: Recording, row: int, total: float) -> list[tuple[float, float, tuple[tuple[str, str], ...]]]:
    """Return from when to when each line stood in a row."""
    found: list[tuple[float, float, tuple[tuple[str, str], ...]]] = []
    for at, lines in recording.frames:
        line = lines[row] if row < len(lines) else ()
        if found and found[-1][2] == line:
            continue
        if found:
            found[-1] = (found[-1][0], at, found[-1][2])
        found.append((at, total, line))
    return [one for one in found if one[2] and one[1] > one[0]]


def main() -> None:
    """Record the commands and write the picture."""
    recording = Recording()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("test_input.json", "examples/portraits.yaml"):
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_bytes((ROOT / file).read_bytes())
        for command in COMMANDS:
            play(command, recording, folder)
    PICTURE.write_text(svg(recording).replace(str(ROOT), "…"), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)} written: {recording.now:.0f} s, {PICTURE.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
