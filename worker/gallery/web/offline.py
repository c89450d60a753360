"""The page as files in the folder of the pictures, to be opened without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from worker.common.atomic_files import write_atomically
from worker.gallery.picture_reading import UnreadablePicture
from worker.gallery.store.picture_store import PictureGone
from worker.gallery.web.routes import static_files

if TYPE_CHECKING:
    from worker.gallery.live_gallery import Gallery

PAGE = "gallery.html"
FOLDER = ".gallery"
"""Hidden, so that the thumbnails in it are no pictures of the gallery."""

_SCRIPT = '<script src="static/backend.js"></script>'


def write_page(gallery: Gallery) -> Path:
    """Write the page, its list and the thumbnails into the folder of the pictures; return the page's path.

    Raises:
        OSError: it can't be written.
    """
    root = Path(gallery.store.title)
    target = root / FOLDER
    (target / "thumbnails").mkdir(parents=True, exist_ok=True)
    gallery.catalog.read_missing_facts()
    files, details = [], {}
    for entry in gallery.catalog.entries():
        file = entry.file
        try:
            (target / "thumbnails" / f"{file.id}.webp").write_bytes(gallery.thumbnails.get(file))
            fingerprint = gallery.store.fingerprint(file)
        except (PictureGone, UnreadablePicture):
            fingerprint = ""
        files.append({"id": file.id, "name": file.name, "size": file.size, "fingerprint": fingerprint})
        facts = gallery.catalog.facts(file.id)
        details[file.id] = {
            "prompt": facts.prompt,
            "negative_prompt": facts.negative_prompt,
            "parameters": facts.parameters,
        }
    index = {
        **gallery.catalog.changes(0),
        "title": gallery.store.title,
        "files": files,
        "details": details,
        "duplicates": {"state": "done", "groups": gallery.catalog.duplicates()},
        "journal": gallery.store.journal(),
    }
    told = json.dumps(index).replace("<", "\\u003c")
    write_atomically(target / "index.js", f"window.GALLERY_INDEX = {told};\n".encode())
    for name, data in static_files().items():
        if name != "index.html":
            write_atomically(target / name, data)
    page = static_files()["index.html"].decode()
    page = page.replace(_SCRIPT, f'<script src="static/index.js"></script>\n  {_SCRIPT}')
    page = page.replace("static/", f"{FOLDER}/")
    write_atomically(root / PAGE, page.encode())
    return root / PAGE
