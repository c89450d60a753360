"""A real S3 server for tests: OpenStack Swift's s3api, in a process of its own (see `swift_server`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.storage.object_store import StoreTarget

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCESS_KEY, SECRET_KEY = "test:tester", "testing"
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Store:
    """A running server."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        """Return boto3's plain client, to look at what the worker left there."""
        from boto3.session import Session
        from botocore.config import Config

        return Session().client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )

    def make_bucket(self, name: str) -> None:
        self.client().create_bucket(Bucket=name)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        return [one["Key"] for one in self.client().list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]

    def target(self, bucket: str, **changes: Any) -> StoreTarget:
        """Return the operator's store for `bucket`; `changes` replace its fields."""
        fields: dict[str, Any] = {
            "endpoint": self.url,
            "bucket": bucket,
            "region": "us-east-1",
            "addressing": "path",
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
            "trusted": True,
        }
        return StoreTarget(**{**fields, **changes})


@contextmanager
def running_store() -> Iterator[Store]:
    """Start the server, wait until it answers, end it by its pid."""
    folder = Path(tempfile.mkdtemp(prefix="s3-"))  # not pytest's: its names are long, and the server's are too
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.support.servers.swift_server", str(folder)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip():
            raise RuntimeError(f"the S3 server did not start: {(folder / 'log').read_text()[-2000:]}")
        yield Store(int(line), process.pid)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)
