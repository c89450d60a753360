"""The result of a local run on disk: pictures as files, and the answer that names them."""

from __future__ import annotations

import base64
import binascii
import json
import re
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


def save_locally(answer: Mapping[str, Any], folder: Path) -> list[str]:
    """Write `answer` to ``answer.json`` in `folder`, its inline pictures beside it; return lines for a person to read.

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
    if "error" in answer:
        return [f"The job failed ({answer['error']}); the answer is in {path}."]
    places = ", ".join(image if "://" in image else str(folder / image) for image in images) or "nowhere: there is none"
    lines = [f"Picture: {places} (answer: {path})"]
    worker = answer.get("worker")
    if isinstance(worker, dict) and worker.get("backend") == "stand-in":
        lines.append("It was drawn by the stand-in WebUI, not diffused: neither WEBUI_DIR nor WEBUI_URL is set.")
    return lines


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
