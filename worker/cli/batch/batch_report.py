"""The report of a batch: accepted and rejected pictures, face similarities and a contact sheet, in one static page."""

from __future__ import annotations

import base64
import html
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.cli.batch.gallery_decisions import REJECT
from worker.client.batch.batch_folder import FINALS
from worker.common.atomic_files import write_atomically
from worker.gallery.picture_reading import UnreadablePicture, make_thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from worker.client.batch.batch_folder import BatchFolder, PictureRecord
    from worker.gallery.decisions import PictureDecision

BINS = 20
"""Of the histogram, from 0 to 1."""
_BAR_PX, _HEIGHT_PX = 24, 120
_LONGEST_PROMPT = 300
_CSP = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem }
.sheet { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); padding: 0 }
figure { margin: 0 } figure img { width: 100%; border-radius: 4px; display: block }
figcaption { font-size: 12px; overflow-wrap: anywhere } .rejected img { opacity: .4 }
td, th { padding: 0 1rem 0 0; text-align: left } svg { max-width: 100% }
rect { fill: #3b7dd8 } text { fill: currentColor }
"""


@dataclass(frozen=True, slots=True)
class ReportedPicture:
    """A picture of a batch.

    Attributes:
        name: Its path below the folder, or its stem where it has no file.
        document: Its JSON.
        why_rejected: Empty of an accepted one.
        is_there: Whether its file is there.
    """

    name: str
    document: Mapping[str, Any]
    why_rejected: str
    is_there: bool

    @property
    def similarity(self) -> float | None:
        """Similarity of its face to the references, None where no judge gave one."""
        judged = self.document.get("judged")
        return _similarity(judged) if isinstance(judged, dict) else None


def reported_pictures(
    records: Sequence[PictureRecord], is_there: Mapping[str, bool], decisions: Mapping[str, PictureDecision]
) -> list[ReportedPicture]:
    """Return every picture that a batch has made; finals and pictures that judges kept back too.

    Args:
        records: Their JSON.
        is_there: Whether the file of that name is there.
        decisions: Of the gallery, by name.
    """
    found = []
    for record in records:
        name = record.picture
        if name is not None:
            found.append(
                ReportedPicture(name, record.document, _why(name, record, is_there, decisions), is_there[name])
            )
        found += _kept_back(record)
    return found


def _why(
    name: str, record: PictureRecord, is_there: Mapping[str, bool], decisions: Mapping[str, PictureDecision]
) -> str:
    if not is_there[name]:
        return "deleted"
    if name in decisions and decisions[name].flag == REJECT:
        return "rejected in the gallery"
    judged = record.document.get("judged")
    if isinstance(judged, dict) and judged.get("accepted") is False:
        return str(judged.get("why") or "rejected by a judge")
    return ""


def _kept_back(record: PictureRecord) -> Iterable[ReportedPicture]:
    """Yield the pictures of a job that judges rejected and that were not delivered."""
    judged = record.batch.get("judged")
    own = record.document.get("judged")
    for verdict in judged if isinstance(judged, list) else ():
        if isinstance(verdict, dict) and verdict.get("accepted") is False and verdict != own:
            told = {"seed": verdict.get("seed"), "judged": verdict}
            why = str(verdict.get("why") or "rejected by a judge")
            yield ReportedPicture(f"{record.stem}, seed {verdict.get('seed')}", told, why, is_there=False)


def write_report(folder: BatchFolder, decisions: Mapping[str, PictureDecision], path: Path) -> None:
    """Write the report of a batch's folder.

    Raises:
        OSError: it can't be written.
    """
    records = folder.records()
    is_there = {record.picture: (folder.root / record.picture).is_file() for record in records if record.picture}
    pictures = reported_pictures(records, is_there, decisions)
    thumbnails = {one.name: _thumbnail(folder.root / one.name) for one in pictures if one.is_there}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, report_page(folder.root.resolve().name, pictures, thumbnails).encode("utf-8", "replace"))


def report_page(title: str, pictures: Sequence[ReportedPicture], thumbnails: Mapping[str, bytes | None]) -> str:
    """Return the page; everything that it shows is in it. Pure.

    Args:
        title: Name of the batch.
        pictures: All of it.
        thumbnails: WebP by the picture's name; None of one that can't be read.
    """
    finals = [one for one in pictures if one.name.startswith(f"{FINALS}/")]
    others = [one for one in pictures if not one.name.startswith(f"{FINALS}/")]
    parts = [_figures(others, finals), _histogram([one.similarity for one in pictures])]
    for heading, group in (
        ("Finals", [one for one in finals if not one.why_rejected]),
        ("Accepted", [one for one in others if not one.why_rejected]),
        ("Rejected", [one for one in pictures if one.why_rejected]),
    ):
        if group:
            figures = "\n".join(_figure(one, thumbnails.get(one.name)) for one in group)
            parts.append(f'<h2>{heading}: {len(group)}</h2>\n<div class="sheet">\n{figures}\n</div>')
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_CSP}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n<h1>{html.escape(title)}</h1>\n{body}\n</html>\n"
    )


def _figures(others: Sequence[ReportedPicture], finals: Sequence[ReportedPicture]) -> str:
    why = Counter(one.why_rejected for one in (*others, *finals) if one.why_rejected)
    accepted = sum(not one.why_rejected for one in others)
    rows = [
        ("candidates", len(others)),
        ("accepted", accepted),
        ("finals", sum(not one.why_rejected for one in finals)),
    ]
    rows += [(f"rejected: {reason}", count) for reason, count in why.most_common()]
    cells = "".join(f'<tr><th scope="row">{html.escape(name)}</th><td>{count}</td></tr>' for name, count in rows)
    return f"<table>{cells}</table>"


def _histogram(similarities: Sequence[float | None]) -> str:
    known = [one for one in similarities if one is not None]
    if not known:
        return ""
    counts = Counter(min(BINS - 1, max(0, int(one * BINS))) for one in known)
    most = max(counts.values())
    bars = []
    for place in range(BINS):
        height = round(counts[place] / most * _HEIGHT_PX)
        label = f"{place / BINS:.2f} to {(place + 1) / BINS:.2f}: {counts[place]}"
        bars.append(
            f'<rect x="{place * _BAR_PX}" y="{_HEIGHT_PX - height}" width="{_BAR_PX - 2}" height="{height}">'
            f"<title>{label}</title></rect>"
        )
    width = BINS * _BAR_PX
    scale = "".join(
        f'<text x="{share * width}" y="{_HEIGHT_PX + 16}" font-size="12" text-anchor="{anchor}">{share:g}</text>'
        for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    )
    mean = sum(known) / len(known)
    return (
        f"<h2>Face similarity: {len(known)} pictures, mean {mean:.2f}</h2>\n"
        f'<svg role="img" aria-label="Histogram of face similarity" width="{width}" height="{_HEIGHT_PX + 20}" '
        f'viewBox="0 0 {width} {_HEIGHT_PX + 20}">{"".join(bars)}{scale}</svg>'
    )


def _figure(one: ReportedPicture, thumbnail: bytes | None) -> str:
    job = one.document.get("job")
    sent = job.get("prompt") if isinstance(job, dict) else None
    prompt = str(one.document.get("prompt") or sent or "")[:_LONGEST_PROMPT]
    image = ""
    if thumbnail is not None:
        data = base64.b64encode(thumbnail).decode()
        image = f'<img alt="{html.escape(prompt)}" src="data:image/webp;base64,{data}">'
    similarity = "" if one.similarity is None else f", face {one.similarity:.2f}"
    told = [f"{one.name}{similarity}", one.why_rejected, prompt]
    caption = "<br>".join(html.escape(text) for text in told if text)
    return (
        f'<figure class="{"rejected" if one.why_rejected else ""}">{image}<figcaption>{caption}</figcaption></figure>'
    )


def _similarity(judged: Mapping[str, Any]) -> float | None:
    face = judged.get("face")
    value = face.get("similarity") if isinstance(face, dict) else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _thumbnail(path: Path) -> bytes | None:
    try:
        return make_thumbnail(path.read_bytes())
    except (OSError, UnreadablePicture):
        return None
