"""A model store on a temporary folder, fetching from a loopback server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.support.loopback_http import Reply, Request
from worker.models.download.context import RetrySettings
from worker.models.sources.civitai import Civitai, CivitaiSource
from worker.models.sources.huggingface import HuggingFace, HuggingFaceSource
from worker.models.sources.model_catalog import ModelCatalog
from worker.models.sources.references import Sources
from worker.models.sources.s3_file import S3Object, S3Source
from worker.models.sources.web import Web, WebSource
from worker.models.store import ModelStore
from worker.net.addresses import AllowList
from worker.net.fetch import Fetcher, FetchLimits
from worker.net.guard import Guard
from worker.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.contract.types.model_ref import ModelRef
    from worker.models.volume.model import LocalModel

QUICK = RetrySettings(
    connections=4, attempts=4, first_wait_s=0.01, longest_wait_s=2.0, save_every_s=0.05, tell_every_s=0.02
)


def store(
    root: Path,
    url: str,
    *,
    retry: RetrySettings = QUICK,
    catalog: ModelCatalog | None = None,
    allow: Sequence[str] = ("127.0.0.1",),
    read_s: float = 5,
    hf_caches: Sequence[Path] = (),
    sources: dict[str, Any] | None = None,
    **environment: str,
) -> ModelStore:
    """Return a store in `root` whose CivitAI and hub are the server at `url`; keywords are environment variables."""
    plain = {"MODELS_DIR": str(root), "MODEL_LEASE_S": "2", "MODEL_FREE_BYTES": "0"}
    given = sources or {}
    fetcher, limits = (
        Fetcher(Guard(AllowList.of(tuple(allow))), connections=16),
        FetchLimits(connect_s=2, read_s=read_s),
    )
    places = Sources(
        {
            Civitai: CivitaiSource(fetcher, limits, token=given.get("civitai_token"), base=url),
            HuggingFace: HuggingFaceSource(
                fetcher,
                limits,
                token=given.get("hf_token"),
                base=url,
                by_library=given.get("by_library", lambda file: file.xet),
            ),
            S3Object: given.get("s3") or S3Source(None, limits, allowed_hosts=(), connections=4),
            Web: WebSource(fetcher, limits),
        }
    )
    return ModelStore(
        read_settings({**plain, **environment}),
        catalog=catalog if catalog is not None else ModelCatalog(),
        sources=places,
        retry=retry,
        hf_caches=hf_caches,
        jitter=lambda: 1.0,
    )


def ranged(
    request: Request, body: bytes, *, etag: str | None = '"one"', headers: dict[str, str] | None = None
) -> Reply:
    """Answer like a server that honours ranges."""
    more = {**({"ETag": etag} if etag else {}), **(headers or {})}
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if match is None:
        return Reply(body=body, headers=more)
    begin, end = int(match[1]), min(len(body), int(match[2]) + 1 if match[2] else len(body))
    if begin >= len(body):
        return Reply(416, headers=more)
    return Reply(206, body[begin:end], {"Content-Range": f"bytes {begin}-{end - 1}/{len(body)}", **more})


async def fetch(where: ModelStore, ref: ModelRef, kind: Any = "lora", *, path: str = "loras[0]") -> LocalModel:
    """Prepare one model."""
    (model,) = await where.prepare([(path, ref, kind)])
    return model


def leftovers(root: Path) -> list[str]:
    """Return the names of files on their way, anywhere in `root`."""
    return sorted(path.name for folder in root.rglob(".incoming") for path in folder.rglob("*") if path.is_file())
