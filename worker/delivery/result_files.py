"""Files of one job's result, and their keys in a store. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from worker.delivery.upload import File
from worker.storage.keys import KeyFields, KeyTemplate, folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.images.formats.picture import Picture
    from worker.images.preview import Preview


@dataclass(frozen=True, slots=True)
class Delivered:
    """The delivered part of an answer.

    Attributes:
        images: base64 or URLs, in order; empty where the client wants none.
        route: Which of the two.
        pictures: As delivered, after any conversion.
        bytes: Of all pictures' files together.
        keys: In the store, in order; empty inline.
        previews: `{thumbnail, blurhash}` for each picture, of these what was asked for; the thumbnail is base64 or a
            URL as the pictures are.
        metadata: For each picture the facts about it, where they are wanted: inline themselves, in a store the URL of
            their file, or its key where no pictures are in the answer.
        grid: All pictures on one sheet, base64 or a URL.
        record: URL of the file that tells how the pictures were made.
        warnings: What the client should know: a smaller format, a store that failed.
    """

    images: list[str] = field(repr=False)
    route: Literal["inline", "s3"]
    pictures: list[Picture]
    bytes: int
    keys: list[str] = field(default_factory=list)
    previews: list[dict[str, str]] = field(default_factory=list, repr=False)
    metadata: Sequence[str | Mapping[str, Any]] = field(default=(), repr=False)
    grid: str | None = field(default=None, repr=False)
    record: str | None = None
    warnings: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """Return what goes into the answer besides the warnings."""
        also = {"keys": self.keys, "previews": self.previews, "grid": self.grid, "record": self.record}
        return {"images": self.images, **{name: value for name, value in also.items() if value}}


@dataclass(frozen=True, slots=True)
class PictureMetadata:
    """The facts about one picture: as an answer carries them, and as a file beside the picture has them."""

    inline: Mapping[str, Any]
    stored: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """The files of a result.

    Attributes:
        id: The job's, which names its folder in a store.
        pictures: As delivered.
        names: One for each.
        template: Of their names in a store.
        metadata: The facts about each, or none at all.
        previews: One for each, or none at all.
        grid: All of them on one sheet.
        record: The answer without its pictures, to be stored beside them.
        hidden: The answer carries no picture.
    """

    id: str
    pictures: Sequence[Picture]
    names: Sequence[KeyFields]
    template: KeyTemplate = field(default_factory=KeyTemplate)
    metadata: Sequence[Mapping[str, Any]] = ()
    previews: Sequence[Preview] = ()
    grid: Picture | None = None
    record: Mapping[str, Any] | None = None
    hidden: bool = False

    def visible(self) -> list[Picture]:
        """Return the pictures that the answer has to have room for: none of its own where they are hidden."""
        own = [] if self.hidden else list(self.pictures)
        return own if self.grid is None else [*own, self.grid]

    def with_visible(self, pictures: Sequence[Picture]) -> ResultFiles:
        """Return it with other forms of the pictures that `visible` returns."""
        own = self.pictures if self.hidden else pictures[: len(self.pictures)]
        return replace(self, pictures=own, grid=None if self.grid is None else pictures[-1])

    def bytes_beside_pictures(self) -> int:
        """Return the size of the previews and the metadata in an answer that carries them inline."""
        more = {"previews": self._inline_previews(), "metadata": list(self.metadata)}
        carried = {name: told for name, told in more.items() if told}
        return len(json.dumps(carried)) if carried else 0

    def to_delivered(self) -> Delivered:
        """Return it as the answer carries it inline."""
        return Delivered(
            images=[] if self.hidden else [one.base64 for one in self.pictures],
            route="inline",
            pictures=list(self.pictures),
            previews=self._inline_previews(),
            grid=None if self.grid is None else self.grid.base64,
            metadata=self.metadata,
            bytes=sum(len(one.data) for one in self.pictures),
        )

    def _inline_previews(self) -> list[dict[str, str]]:
        return [preview_answer(one, one.thumbnail.base64 if one.thumbnail else None) for one in self.previews]

    def files(self, prefix: str) -> StoredFiles:
        """Return its files, named below `prefix`."""
        pictures = [
            picture_file(self.template.key(prefix, name, picture.extension), picture, name.seed)
            for picture, name in zip(self.pictures, self.names, strict=True)
        ]
        thumbnails = [
            None if one.thumbnail is None else picture_file(f"{file.key}.thumbnail.jpg", one.thumbnail, name.seed)
            for one, file, name in zip(self.previews, pictures, self.names, strict=False)
        ]
        place = folder(prefix, self.id)
        grid = None if self.grid is None else picture_file(f"{place}/grid.{self.grid.extension}", self.grid)
        record = None if self.record is None else _record(place, self.record, pictures)
        metadata = [_metadata(file.key, facts) for file, facts in zip(pictures, self.metadata, strict=False)]
        return StoredFiles(pictures, thumbnails, metadata, grid, record)


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """The files of a result; `thumbnails` are in the order of the pictures, None where there is none."""

    pictures: list[File]
    thumbnails: list[File | None]
    metadata: list[File]
    grid: File | None
    record: File | None

    def all(self) -> list[File]:
        """Return every file, pictures first."""
        more = (*self.thumbnails, *self.metadata, self.grid, self.record)
        return [*self.pictures, *(file for file in more if file is not None)]


def preview_answer(one: Preview, thumbnail: str | None) -> dict[str, str]:
    """Return what the answer says of a preview whose thumbnail is `thumbnail`."""
    both = {"thumbnail": thumbnail, "blurhash": one.blurhash}
    return {name: value for name, value in both.items() if value is not None}


def picture_file(name: str, picture: Picture, seed: int | None = None) -> File:
    """Return a picture as the file that it becomes under the key `name`."""
    metadata = {"width": str(picture.width), "height": str(picture.height)}
    if seed is not None:
        metadata = {"seed": str(seed), **metadata}
    return File(name, picture.data, picture.content_type, metadata)


def _metadata(picture: str, facts: Mapping[str, Any]) -> File:
    """Return the facts about the picture under the key `picture` as the file beside it."""
    text = json.dumps({**facts, "key": picture}, ensure_ascii=False, indent=1, allow_nan=False)
    return File(f"{picture.rpartition('.')[0]}.json", text.encode("utf-8", "replace"), "application/json")


def _record(place: str, answer: Mapping[str, Any], pictures: Sequence[File]) -> File:
    """Return the file that tells how the pictures were made: the answer, with keys in the place of pictures."""
    told = {**answer, "images": [file.key for file in pictures]}
    text = json.dumps(told, ensure_ascii=False, indent=1, allow_nan=False)
    return File(f"{place}/job.json", text.encode("utf-8", "replace"), "application/json")
