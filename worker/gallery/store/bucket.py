"""Pictures in a bucket, and the decisions on them as small objects beside them."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from worker.gallery.decisions import compacted, read_journal
from worker.gallery.store.picture_store import TRASH, PictureFile, PictureGone, StoreUnavailable, is_picture_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

JOURNAL_FOLDER = "curation"
MOST_PARTS = 200
"""Objects of the journal, before they are merged into one."""

_CONNECT_S, _READ_S = 5, 30
_ATTEMPTS = 4


class Bucket:
    """The objects below a prefix.

    An object can't be appended to, so that each batch of decisions is an object of its own, named after its time; two
    windows never overwrite each other.

    Args:
        client: boto3's client of the store.
        bucket: Its name.
        prefix: Of the keys; pictures' names start after it.
    """

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.title = f"s3://{bucket}/{self._prefix}"
        self._parts: dict[str, str] = {}

    def files(self) -> Iterator[PictureFile]:
        """Yield the pictures in the order of their keys."""
        for told in self._objects(""):
            name = str(told["Key"]).removeprefix(self._prefix)
            if is_picture_name(name):
                etag = str(told.get("ETag", "")).strip('"')
                yield PictureFile(name, int(told["Size"]), told["LastModified"].timestamp(), etag)

    def read(self, name: str, *, most: int | None = None) -> bytes:
        """Return the bytes of an object."""
        wanted = {} if most is None else {"Range": f"bytes=0-{most - 1}"}
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name, **wanted)
            data: bytes = answer["Body"].read()
        except Exception as error:
            raise PictureGone(name) from error
        return data

    def fingerprint(self, file: PictureFile) -> str:
        """Return the object's ETag, which a copy under another key keeps."""
        return f"etag:{file.etag}"

    def key(self, name: str) -> str | None:
        """Return the object's key."""
        return self._prefix + name

    def add(self, name: str, data: bytes) -> str:
        """Write a new object; return its name."""
        path = PurePosixPath(name)
        number, chosen = 2, path
        while self._exists(str(chosen)):
            chosen = path.with_name(f"{path.stem}-{number}{path.suffix}")
            number += 1
        self._put(str(chosen), data)
        return str(chosen)

    def move_to_trash(self, names: Sequence[str]) -> list[str]:
        """Move objects and the JSON beside them below `.trash/`."""
        moved = []
        for name in names:
            if self._move(name, f"{TRASH}/{name}"):
                moved.append(name)
                facts = str(PurePosixPath(name).with_suffix(".json"))
                self._move(facts, f"{TRASH}/{facts}")
        return moved

    def restore_trash(self) -> list[str]:
        """Move everything below `.trash/` back, except onto new objects; return the pictures' names."""
        start = f"{self._prefix}{TRASH}/"
        names = [str(told["Key"]).removeprefix(start) for told in self._objects(f"{TRASH}/")]
        moved = [name for name in names if not self._exists(name) and self._move(f"{TRASH}/{name}", name)]
        return [name for name in moved if is_picture_name(name)]

    def journal(self) -> str:
        """Return the decisions in the order of their times."""
        names = sorted(str(told["Key"]) for told in self._objects(f"{JOURNAL_FOLDER}/"))
        for name in names:
            if name not in self._parts:
                try:
                    self._parts[name] = self.read(name.removeprefix(self._prefix)).decode("utf-8", "replace")
                except PictureGone:
                    continue  # merged by another process meanwhile; its lines come with the merged object
        return "".join(self._parts.get(name, "") for name in names)

    def append_journal(self, lines: Sequence[str]) -> None:
        """Write the decisions as a new object; above `MOST_PARTS` all are merged."""
        self._append(lines)
        if len(self._parts) > MOST_PARTS:
            text, parts = self.journal(), list(self._parts)
            self._put(
                max(parts).removeprefix(self._prefix), "".join(f"{x}\n" for x in compacted(read_journal(text))).encode()
            )
            self._parts = {}
            for name in sorted(parts)[:-1]:
                self._delete(name)

    def _append(self, lines: Sequence[str]) -> None:
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")
        text = "".join(f"{line}\n" for line in lines)
        name = f"{JOURNAL_FOLDER}/{now}-{uuid.uuid4().hex[:8]}.jsonl"
        self._put(name, text.encode())
        self._parts[self._prefix + name] = text

    def _objects(self, below: str) -> Iterator[dict[str, Any]]:
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + below
            )
            for page in pages:
                yield from page.get("Contents", ())
        except Exception as error:
            raise StoreUnavailable(f"{self.title} can't be listed: {error}") from error

    def _exists(self, name: str) -> bool:
        key = self._prefix + name
        return any(told["Key"] == key for told in self._objects(name))

    def _put(self, name: str, data: bytes) -> None:
        try:
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=data)
        except Exception as error:
            raise StoreUnavailable(f"{self.title}{name} can't be written: {error}") from error

    def _move(self, name: str, to: str) -> bool:
        if not self._exists(name):
            return False
        source = {"Bucket": self._bucket, "Key": self._prefix + name}
        try:
            self._client.copy_object(Bucket=self._bucket, Key=self._prefix + to, CopySource=source)
        except Exception as error:
            raise StoreUnavailable(f"{self.title}{name} can't be moved: {error}") from error
        self._delete(self._prefix + name)
        return True

    def _delete(self, key: str) -> None:
        try:
            self._client.delete_object(Bucket=self._bucket, Key=key)
        except Exception as error:
            raise StoreUnavailable(f"s3://{self._bucket}/{key} can't be removed: {error}") from error


def connect(
    *,
    endpoint: str | None,
    region: str | None,
    access_key: str | None,
    secret_key: str | None,
    addressing: str = "auto",
) -> Any:
    """Return boto3's client of a store; keys that are not given come from where boto3 looks for them."""
    from boto3.session import Session  # noqa: PLC0415 - takes a second, and folders don't need it
    from botocore.config import Config  # noqa: PLC0415 - as above

    return Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            s3={"addressing_style": addressing},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
