"""Fetching a model: this worker's engine against aria2c, curl and the old way (requests, 8 KB pieces), hash included.

One loopback server in its own process, once as fast as it can, once with 30 MB/s per connection and 20 ms per answer.
Every way ends with the file on disk, flushed (aria2c does that itself, for the others it is done), and its SHA-256
known. The ways take turns, each time in another order and with nothing left to write from the one before; medians of
the rounds count. Ratios are our time by theirs: below 1 is faster. Our time holds the start of Python and the flush.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import Figure, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
SERVER = ROOT / "benchmarks" / "support" / "file_server.py"
SCENES = {"unthrottled": [], "throttled": ["--bytes-per-second", "30e6", "--latency-s", "0.02"]}

OUR_PROGRAM = """
import asyncio, json, re, sys, time
began = time.perf_counter()
from worker.contract.types.model_ref import ModelRef
from worker.contract.types.model_ref import ModelRef
from worker.models.sources.model_catalog import ModelCatalog
from worker.models.store import ModelStore
from worker.settings import read_settings
url, folder = sys.argv[1:]
settings = read_settings({"MODELS_DIR": folder, "ALLOW_HOSTS": "127.0.0.1", "MODEL_FREE_BYTES": "0"})
ready = time.perf_counter()
store = ModelStore(settings, catalog=ModelCatalog())
model = asyncio.run(store.prepare([("", ModelRef(url=url), "checkpoint")]))[0]
store.close()
memory = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
print(json.dumps({"sha256": model.sha256, "memory": memory, "seconds": time.perf_counter() - ready}))
"""

OLD_WAY = """
import hashlib, sys, requests
url, path = sys.argv[1:]
with requests.get(url, stream=True, timeout=300) as answer, open(path, "wb") as file:
    for piece in answer.iter_content(chunk_size=8192):
        file.write(piece)
digest = hashlib.sha256()
with open(path, "rb") as file:
    for piece in iter(lambda: file.read(4096), b""):
        digest.update(piece)
print(digest.hexdigest())
"""


def write_model(path: Path, size: int) -> str:
    """Write a checkpoint of `size` bytes that does not compress; return its SHA-256."""
    name = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    tensors = {name: {"dtype": "F16", "shape": [1, 768], "data_offsets": [0, 1536]}}
    rest = size - 10_000
    tensors["padding"] = {"dtype": "U8", "shape": [rest - 1536], "data_offsets": [1536, rest]}
    header = json.dumps(tensors).encode()
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in (len(header).to_bytes(8, "little"), header):
            file.write(piece)
            digest.update(piece)
        while rest:
            piece = os.urandom(min(rest, 8 << 20))
            file.write(piece)
            digest.update(piece)
            rest -= len(piece)
    os.sync()
    return digest.hexdigest()


@contextlib.contextmanager
def server(file: Path, options: list[str]) -> Iterator[str]:
    process = subprocess.Popen([sys.executable, SERVER, file, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/model.safetensors"
    finally:
        process.kill()
        process.wait()


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def by_us(url: str, folder: Path) -> tuple[str, int]:
    answer = subprocess.run(
        [sys.executable, "-c", OUR_PROGRAM, url, folder], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    facts = json.loads(answer)
    return facts["sha256"], facts["memory"]


def by_aria2c(url: str, folder: Path, *more: str) -> tuple[str, int]:
    path = folder / "model.safetensors"
    subprocess.run(["aria2c", "--quiet", "--dir", folder, "--out", path.name, "-x16", *more, url], check=True)
    return _hashed(path)


def by_curl(url: str, folder: Path) -> tuple[str, int]:
    path = folder / "model.safetensors"
    subprocess.run(["curl", "--silent", "--fail", "--output", path, url], check=True)
    return _hashed(path)


def by_old_way(url: str, folder: Path) -> tuple[str, int]:
    path = folder / "model.safetensors"
    done = subprocess.run([sys.executable, "-c", OLD_WAY, url, path], check=True, capture_output=True, text=True)
    _flush(path)
    return done.stdout.strip(), 0


def _hashed(path: Path) -> tuple[str, int]:
    _flush(path)
    done = subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True)
    return done.stdout.split()[0], 0


OURS = "this worker"
WAYS: dict[str, Callable[[str, Path], tuple[str, int]]] = {
    OURS: by_us,
    "aria2c -x16, sha256sum": by_aria2c,
    "aria2c -x16 -s16 -k1M, sha256sum": lambda url, folder: by_aria2c(url, folder, "-s16", "-k1M"),
    "curl, sha256sum": by_curl,
    "requests, 8 KB pieces, then the hash": by_old_way,
}
ALWAYS = {OURS, "requests, 8 KB pieces, then the hash"}
SHORT = {
    "aria2c -x16, sha256sum": "aria2c",
    "aria2c -x16 -s16 -k1M, sha256sum": "aria2c16",
    "curl, sha256sum": "curl",
    "requests, 8 KB pieces, then the hash": "old_way",
}
ONE_STREAM = {"curl, sha256sum", "requests, 8 KB pieces, then the hash"}
"""What a throttled connection keeps busy for over a minute, always the same: one round is enough."""
TARGETS = {"aria2c": "ratio <= 1.00"}


def measure(way: Callable[[str, Path], tuple[str, int]], url: str, place: Path, digest: str) -> tuple[float, int]:
    """Return seconds and memory of one fetch into a fresh folder."""
    folder = Path(tempfile.mkdtemp(dir=place))
    os.sync()  # what the one before left unwritten is not this one's
    try:
        began = time.perf_counter()
        found, memory = way(url, folder)
        seconds = time.perf_counter() - began
        if found != digest:
            raise SystemExit(f"wrong bytes: {found}")
    finally:
        shutil.rmtree(folder)
    return seconds, memory


def run(folder: Path, *, size: int = 2_000_000_000, rounds: int = 3, scenes: Sequence[str] = ()) -> list[Figure]:
    """Measure every way in every scene (or those named); the medians of `rounds`, the most memory of any."""
    there = [name for name in WAYS if name in ALWAYS or shutil.which(name.replace(",", " ").split()[0])]
    source = folder / "source.safetensors"
    digest = write_model(source, size)
    figures = []
    for scene in scenes or SCENES:
        seconds: dict[str, list[float]] = {name: [] for name in there}
        memory = 0
        with server(source, SCENES[scene]) as url:
            for turn in range(rounds):
                for name in there[turn % len(there) :] + there[: turn % len(there)]:
                    if scene == "throttled" and name in ONE_STREAM and seconds[name]:
                        continue
                    took, used = measure(WAYS[name], url, folder, digest)
                    seconds[name].append(took)
                    memory = max(memory, used)
        ours = statistics.median(seconds[OURS])
        figures += [
            Figure(f"fetch.{scene}.{short}", ours, "s", statistics.median(seconds[name]), name, TARGETS.get(short, ""))
            for name, short in SHORT.items()
            if name in there
        ]
        figures.append(Figure(f"fetch.{scene}.memory", memory / 1e6, "MB", target="<= 150"))
    return figures


def main(argv: list[str] | None = None) -> int:
    """Measure with other sizes than ``python -m benchmarks fetch`` does; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bytes", type=float, default=2e9, help="size of the file (default 2e9)")
    parser.add_argument("--folder", type=Path, default=None, help="where the fetched files go")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scene", choices=list(SCENES), action="append", help="default: all")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        figures = run(Path(folder), size=int(options.bytes), rounds=options.rounds, scenes=options.scene or ())
    print(table(figures))
    return 0 if all(figure.met is not False for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
