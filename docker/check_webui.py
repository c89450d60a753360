"""Prove, while the image is built, that its WebUI will start: run by the WebUI's own Python, needs no GPU and no model.

Compares the pins with the checkout's own list, then imports what a start imports: torch for the right CUDA, xformers,
CLIP's tokenizer without network, the WebUI itself, its API and every extension that was put in.
"""  # noqa: INP001 -- a program of the image, part of no package

from __future__ import annotations

import argparse
import importlib
import os
import sqlite3
import sys
import tempfile
from pathlib import Path

WEBUI = Path("/opt/webui")
ARGUMENTS = ["--nowebui", "--api", "--skip-torch-cuda-test", "--skip-prepare-environment", "--no-download-sd-model"]


def pins(file: Path) -> set[str]:
    """Return the requirements in `file`, torch aside: its version belongs to the variant."""
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return {line for line in lines if line and line != "torch"}


def check_pins(ours: Path) -> None:
    """Fail when the checkout asks for something other than what was installed."""
    missing = pins(WEBUI / "requirements_versions.txt") - pins(ours)
    if missing:
        raise SystemExit(f"the WebUI's requirements_versions.txt asks for what {ours.name} lacks: {sorted(missing)}")


def check_sqlite() -> None:
    """Fail when the WebUI's disk cache would not work (as with conda's SQLite)."""
    diskcache = importlib.import_module("diskcache")
    with tempfile.TemporaryDirectory() as folder, diskcache.Cache(folder) as cache:
        cache["key"] = "value"
        if cache["key"] != "value":
            raise SystemExit(f"SQLite {sqlite3.sqlite_version} loses what the disk cache stores")


def check_torch(variant: str) -> str:
    """Fail when torch was built for another CUDA than the variant names, or xformers does not load beside it."""
    torch = importlib.import_module("torch")
    wanted = f"{variant[2:-1]}.{variant[-1]}"
    if torch.version.cuda != wanted:
        raise SystemExit(f"torch {torch.__version__} is built for CUDA {torch.version.cuda}, not {wanted}")
    xformers = importlib.import_module("xformers")
    importlib.import_module("xformers.ops")
    return f"torch {torch.__version__} (CUDA {torch.version.cuda}), xformers {xformers.__version__}"


def check_tokenizer() -> None:
    """Fail when CLIP's tokenizer and configuration are not in the image."""
    transformers = importlib.import_module("transformers")
    name = "openai/clip-vit-large-patch14"
    tokens = transformers.CLIPTokenizer.from_pretrained(name)("a cat")["input_ids"]
    if tokens != [49406, 320, 2368, 49407]:
        raise SystemExit(f"CLIP's tokenizer is wrong: 'a cat' became {tokens}")
    transformers.CLIPTextConfig.from_pretrained(name)


def check_start(extensions: list[str]) -> str:
    """Import and set up the WebUI as a start does, up to the checkpoint, and fail when an extension did not load."""
    os.chdir(WEBUI)
    sys.path.insert(0, str(WEBUI))
    sys.argv = ["webui.py", *ARGUMENTS]
    webui = importlib.import_module("webui")
    webui.initialize.imports()
    importlib.import_module("modules.api.api")
    scripts = importlib.import_module("modules.scripts")
    importlib.import_module("modules.extensions").list_extensions()
    scripts.load_scripts()
    titles = {str(item.script_class().title()).lower() for item in scripts.scripts_data}
    missing = [name for name in extensions if name not in titles]
    if missing:
        raise SystemExit(f"extensions that did not load: {missing}; loaded: {sorted(titles)}")
    return f"{len(titles)} scripts"


def main() -> None:
    """Check, say what was found, and leave without waiting for threads of the WebUI."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requirements", type=Path, required=True)
    parser.add_argument("--cuda", required=True)
    options = parser.parse_args()
    check_pins(options.requirements)
    check_sqlite()
    found = check_torch(options.cuda)
    check_tokenizer()
    extensions = sorted(folder.name for folder in (WEBUI / "extensions").iterdir() if folder.is_dir())
    scripts = check_start(extensions)
    sys.stdout.write(f"the WebUI imports: {found}, {scripts}, extensions {extensions}\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
