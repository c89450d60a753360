"""Exports of a review: names, seeds, jobs, a table, XMP. Pure."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from worker.gallery.job_requests import NoSuchJob, repeated_job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.gallery.picture_catalog import PictureEntry

_REJECTED = -1
_SPREADSHEET_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def _names(entries: Sequence[PictureEntry]) -> bytes:
    return "".join(f"{_shown(entry)}\n" for entry in entries).encode()


def _seeds(entries: Sequence[PictureEntry]) -> bytes:
    seeds = [entry.facts.seed for entry in entries if entry.facts is not None and entry.facts.seed is not None]
    return "".join(f"{seed}\n" for seed in seeds).encode()


def _jobs(entries: Sequence[PictureEntry]) -> bytes:
    jobs = []
    for entry in entries:
        if entry.facts is None or entry.facts.seed is None:
            continue
        try:
            jobs.append({"input": repeated_job(entry.facts, entry.facts.seed)})
        except NoSuchJob:
            continue
    return json.dumps(jobs, indent=2).encode()


def _table(entries: Sequence[PictureEntry]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["name", "flag", "stars", "label", "note", "seed", "checkpoint", "stage", "prompt"])
    for entry in entries:
        decision, facts = entry.decision, entry.facts
        known = ["", "", "", ""] if facts is None else [facts.seed, facts.checkpoint, facts.stage, facts.prompt]
        row = [_shown(entry), decision.flag, decision.stars, decision.label, decision.note, *known]
        writer.writerow([_as_text(value) for value in row])
    return out.getvalue().encode()


def _xmp(entries: Sequence[PictureEntry]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            rating = _REJECTED if entry.decision.flag == "reject" else entry.decision.stars
            archive.writestr(str(PurePosixPath(_shown(entry)).with_suffix(".xmp")), _xmp_document(rating))
    return out.getvalue()


def _xmp_document(rating: int) -> str:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating={quoteattr(str(rating))}/>'
        "</rdf:RDF></x:xmpmeta>\n"
    )


def _shown(entry: PictureEntry) -> str:
    return entry.file.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _as_text(value: object) -> object:
    """Return a value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_SPREADSHEET_FORMULAS) else value


EXPORTS: dict[str, tuple[str, str, Callable[[Sequence[PictureEntry]], bytes]]] = {
    "names": ("names.txt", "text/plain; charset=utf-8", _names),
    "seeds": ("seeds.txt", "text/plain; charset=utf-8", _seeds),
    "jobs": ("jobs.json", "application/json", _jobs),
    "table": ("pictures.csv", "text/csv; charset=utf-8", _table),
    "xmp": ("xmp.zip", "application/zip", _xmp),
}
"""Name in the address → file name, media type, and what writes it."""
