"""The result of a local run on disk: pictures as files, and the answer that names them."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SIGNATURES = (
    ("png", 0, b"\x89PNG\r\n\x1a\n"),
    ("jpg", 0, b"\xff\xd8\xff"),
    ("webp", 8, b"WEBP"),
    ("avif", 4, b"ftypavif"),
)
_OWN_NAME = re.compile(r"\d{3}\.[a-z]+")
"""Pictures of a local run: nothing else in the folder is ever removed."""


@dataclass(frozen=True, slots=True)
class SavedResult:
    """The files of a local run: the answer's, and its pictures', or their URLs."""

    answer: Path
    images: tuple[str, ...] = ()


def save_locally(answer: Mapping[str, Any], folder: Path) -> SavedResult:
    """Write `answer` to ``answer.json`` in `folder`, its inline pictures beside it; return where they are.

    The facts about a picture, where the job asked for them, are beside it: ``001.json`` for ``001.png``. In
    ``answer.json`` what came inline is its file's name; a URL stays what it is. The files of an earlier run, as its
    ``answer.json`` names them, are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_earlier(folder)
    images = [_save_picture(image, index, folder) for index, image in enumerate(answer.get("images") or [], start=1)]
    saved = {**answer, "images": images} if "images" in answer else dict(answer)
    if "pictures" in answer:
        saved["pictures"] = [_save_facts(row, index, folder) for index, row in enumerate(answer["pictures"], start=1)]
    path = folder / "answer.json"
    path.write_text(json.dumps(saved, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return SavedResult(path, tuple(image if "://" in image else str(folder / image) for image in images))


def lines_for_people(answer: Mapping[str, Any], saved: SavedResult | None = None) -> list[str]:
    """Return the lines that tell a person how a job went: warnings, mistakes, the answer's file, last the pictures."""
    kept = [f"Answer: {saved.answer}{_summary(answer)}"] if saved is not None else []
    if "error" in answer:
        return [*_failure(answer), *kept]
    lines = [f"Warning: {_sentence(warning)}" for warning in _list(answer.get("warnings"))]
    worker = answer.get("worker")
    images = saved.images if saved is not None else ()
    if images and isinstance(worker, dict) and worker.get("backend") == "stand-in":
        lines.append("Drawn by the stand-in, not diffused: set WEBUI_DIR or WEBUI_URL to use a real WebUI.")
    shown = [f"Picture{'s' if len(images) > 1 else ''}: {', '.join(images)}"] if images else []
    return [*lines, *kept, *shown]


def _failure(answer: Mapping[str, Any]) -> list[str]:
    details = answer.get("details")
    told = details if isinstance(details, dict) else {}
    problems = [problem for problem in _list(told.get("problems")) if isinstance(problem, dict)]
    if len(problems) < 2:  # noqa: PLR2004 - one fits into its line
        lines = [f"The job failed: {answer['error']}"]
    else:
        lines = [f"The job failed: {answer.get('error_code')}, {len(problems)} mistakes", *map(_mistake, problems)]
    return [*lines, f"  {told['hint']}"] if told.get("hint") else lines


def _mistake(problem: Mapping[str, Any]) -> str:
    meant = f" (did you mean {problem['suggestion']!r}?)" if problem.get("suggestion") else ""
    return f"  {problem.get('path')}: {problem.get('message')}{meant}"


def _sentence(warning: Any) -> str:
    return str(warning.get("message", warning)) if isinstance(warning, dict) else str(warning)


def _summary(answer: Mapping[str, Any]) -> str:
    """Return what made the pictures, in brackets; nothing where there are none."""
    applied, phases = answer.get("applied"), answer.get("phase_ms")
    if not isinstance(applied, dict):
        return ""
    sampler = " ".join(str(applied[name]) for name in ("sampler", "scheduler") if applied.get(name))
    seeds = _list(answer.get("seeds"))
    facts = [
        str(applied.get("checkpoint") or ""),
        sampler,
        f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds" if seeds else "",
        f"{phases['total'] / 1000:.1f} s" if isinstance(phases, dict) and "total" in phases else "",
    ]
    return f" ({', '.join(fact for fact in facts if fact)})" if any(facts) else ""


def _save_facts(row: Mapping[str, Any], index: int, folder: Path) -> dict[str, Any]:
    """Write the facts about one picture that came inline; return its row with their file's name in their place."""
    facts = row.get("metadata")
    if not isinstance(facts, dict):
        return dict(row)
    name = f"{index:03}.json"
    (folder / name).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return {**row, "metadata": name}


def _remove_earlier(folder: Path) -> None:
    try:
        earlier = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    told = earlier if isinstance(earlier, dict) else {}
    images, rows = _list(told.get("images")), _list(told.get("pictures"))
    for name in (*images, *(row.get("metadata") for row in rows if isinstance(row, dict))):
        if isinstance(name, str) and _OWN_NAME.fullmatch(name):
            (folder / name).unlink(missing_ok=True)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _save_picture(image: str, index: int, folder: Path) -> str:
    """Write one inline picture and return its file name; return anything else unchanged."""
    if "://" in image[:16]:
        return image
    try:
        data = base64.b64decode(image.partition(",")[2] if image.startswith("data:") else image, validate=True)
    except binascii.Error:
        return image
    name = f"{index:03}.{_extension(data)}"
    (folder / name).write_bytes(data)
    return name


def _extension(data: bytes) -> str:
    return next((ext for ext, at, sign in _SIGNATURES if data[at : at + len(sign)] == sign), "bin")
