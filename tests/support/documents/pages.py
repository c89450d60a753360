"""The examples of a page: its fenced blocks, each with what the page says about running it.

A comment on the line before a block speaks to the tests and is not shown to readers:

    <!-- not run: REASON -->     the tests leave it out, for this reason
    <!-- keeps running -->       a server: started, and stopped at the page's end
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*) -->\n)?^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL
)
_SKIPPED = "not run: "


@dataclass(frozen=True, slots=True)
class Example:
    """One fenced block.

    Attributes:
        page: Its file.
        line: Where it stands.
        language: ``bash``, ``json``, ``python``, …
        text: What is inside, without the indentation.
        mark: The comment before it; empty: none.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str

    @property
    def reason(self) -> str | None:
        """Why it is not run; None: it is."""
        return self.mark.removeprefix(_SKIPPED).strip() if self.mark.startswith(_SKIPPED) else None

    @property
    def keeps_running(self) -> bool:
        """Whether it is a server."""
        return self.mark == "keeps running"

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def examples(page: Path) -> list[Example]:
    """Return the blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Example(
            page=page,
            line=text.count("\n", 0, found.start("language")) + 1,
            language=found["language"],
            text=dedent(found["text"]),
            mark=found["mark"] or "",
        )
        for found in _BLOCK.finditer(text)
    ]


def every(*languages: str) -> list[Example]:
    """Return the examples of all pages in these languages that are to be run."""
    found = [example for page in PAGES for example in examples(page)]
    return [one for one in found if one.language in languages and one.reason is None]
