"""CivitAI's listing of a model version: which of its files is meant, and what the site states about it; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from worker.models.format.detect import known_base

if TYPE_CHECKING:
    from collections.abc import Mapping

CHOICES = {"type": "type", "format": "format", "size": "size", "fp": "fp", "fileid": "fileId"}
"""The query parameters by which CivitAI tells the files of one version apart, by their names in lower case."""
_MOST_TOLD = 20
VALUES = {
    value.lower(): value
    for value in ("Model", "Pruned Model", "VAE", "UNet", "Text Encoder", "SafeTensor", "PickleTensor", "GGUF", "Other")
} | {value: value for value in ("full", "pruned", "fp16", "fp32", "bf16", "fp8", "nf4")}


@dataclass(frozen=True, slots=True)
class CivitaiFile:
    """One file of one version.

    Attributes:
        version: The version's id.
        id: The file's own id; None when the site did not say which file a download gives.
        name: The file's name there; None when the site did not say.
        sha256: None unless the site names it for exactly the file that a download gives.
        base_model: In our words.
        trigger_words: As published.
        primary: The file that a download without choices gives.
        files: The version's files in words, for errors.
        left_open: That the choices fit other files too, in words; None where they do not.
    """

    version: int
    id: int | None = None
    name: str | None = None
    sha256: str | None = None
    base_model: str | None = None
    trigger_words: tuple[str, ...] = ()
    primary: bool = False
    files: tuple[str, ...] = ()
    left_open: str | None = None


class UnknownModel(Exception):
    """CivitAI has no such model, version or file; the message says what it has."""


def read_answer(
    data: Any, *, version: int | None, model: int | None = None, choices: tuple[tuple[str, str], ...] = ()
) -> CivitaiFile:
    """Return the file from a model's or a version's JSON; anything may be missing.

    Args:
        data: The site's answer.
        version: The version that was asked for; None: the newest of a model.
        model: The model that it has to belong to, if any was named.
        choices: The parameters that choose among its files.

    Raises:
        UnknownModel: it names no version, or not the file.
    """
    about = data if isinstance(data, dict) else {}
    if version is None:
        versions = about.get("modelVersions")
        about = versions[0] if isinstance(versions, list) and versions and isinstance(versions[0], dict) else {}
        if not isinstance(about.get("id"), int):
            raise UnknownModel
    elif model is not None and about.get("modelId", model) != model:
        raise UnknownModel(f": the version {version} belongs to the model {about.get('modelId')}")
    listed = about.get("files")
    files = [file for file in listed if isinstance(file, dict)] if isinstance(listed, list) else []
    fitting = _fitting(files, dict(choices))
    chosen = _chosen(fitting, dict(choices))
    hashes = chosen.get("hashes")
    digest = hashes.get("SHA256") if isinstance(hashes, dict) else None
    words = about.get("trainedWords")
    base = about.get("baseModel")
    name, number = chosen.get("name"), chosen.get("id")
    return CivitaiFile(
        version=version if version is not None else about["id"],
        id=number if isinstance(number, int) else None,
        name=name if isinstance(name, str) else None,
        sha256=digest.lower() if isinstance(digest, str) and len(digest) == 64 else None,  # noqa: PLR2004  hex digits
        base_model=known_base(base if isinstance(base, str) else None),
        trigger_words=tuple(w.strip()[:200] for w in words if isinstance(w, str))[:50]
        if isinstance(words, list)
        else (),
        primary=bool(chosen) and (chosen.get("primary") is True or len(files) == 1),
        files=_described(files),
        left_open=_left_open(fitting) if choices and chosen else None,
    )


def _fitting(files: list[dict[str, Any]], choices: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the files that these choices fit.

    Raises:
        UnknownModel: the choices name a file by its id, and the version has no such file.
    """
    if "fileId" in choices:
        named = [file for file in files if str(file.get("id")) == choices["fileId"]]
        if files and not named:
            raise UnknownModel(f"; the version has {', '.join(_described(files))}")
        return named
    fitting = [file for file in files if _matches(file, choices)] if choices else files
    return fitting or [file for file in files if _own_address(file) == choices]


def _chosen(fitting: list[dict[str, Any]], choices: Mapping[str, str]) -> dict[str, Any]:
    """Return the one file that a download with these choices gives, or nothing when that is not clear.

    Raises:
        UnknownModel: the choices fit several files, of which none is the primary one.
    """
    if len(fitting) <= 1:
        return fitting[0] if fitting else {}
    primary = [file for file in fitting if file.get("primary") is True]  # half a query: the site gives this one
    if choices and not primary:
        raise UnknownModel(f" that is one file: it fits {', '.join(_described(fitting))}; say which by its fileId")
    return primary[0] if len(primary) == 1 else {}


def _left_open(fitting: list[dict[str, Any]]) -> str | None:
    """Return the words for a query that fits other files than the primary one, None where it does not."""
    if len(fitting) <= 1:
        return None
    told = ", ".join(_described(fitting))
    return f"the query fits {told}; the primary file is used. Say which by its fileId"


def _matches(file: Mapping[str, Any], choices: Mapping[str, str]) -> bool:
    metadata = file.get("metadata")
    facts: dict[str, Any] = {**metadata, "type": file.get("type")} if isinstance(metadata, dict) else dict(file)
    return all(str(facts.get(name, "")).lower() == value.lower() for name, value in choices.items())


def _own_address(file: Mapping[str, Any]) -> dict[str, str]:
    """Return the choices in the address under which the site lists a file."""
    address = file.get("downloadUrl")
    query = address.partition("#")[0].partition("?")[2] if isinstance(address, str) else ""
    pairs = parse_qsl(query)
    return {CHOICES[name.lower()]: VALUES.get(value.lower(), value) for name, value in pairs if name.lower() in CHOICES}


def _described(files: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return files in words; few."""
    return tuple(
        f"{str(file.get('name'))[:80]!r} ({file.get('type')}{_file_id(file.get('id'))})" for file in files[:_MOST_TOLD]
    )


def _file_id(number: object) -> str:
    return f", fileId={number}" if isinstance(number, int) else ""
