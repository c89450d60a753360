"""CivitAI: model versions, their files, and what the site states about them."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

import orjson

from worker.models.format.filenames import BadReference, short_hash
from worker.models.sources.civitai_listing import CHOICES, VALUES, CivitaiFile, UnknownModel, read_answer
from worker.models.sources.http_file import Busy, Denied, HttpFile, refusal
from worker.models.sources.model_source import Locator, Offer, SourceKind, bearer
from worker.models.sources.web import split_url
from worker.net.fetch import FetchLimits
from worker.net.fetch_errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.models.sources.model_source import Connection
    from worker.net.fetch import Fetcher

BASE = "https://civitai.com"
HOSTS = ("civitai.com", "civitai.green", "civitai.red", "civitai.work")
MAX_ANSWER_BYTES = 8 * 1024 * 1024
_FINE = 200
_VERSION = "modelversionid"
_HARMLESS = re.compile(
    r"token|utm_\w+|ref\w*|dialog|commentid|highlight|tab|tags?|period|sort|query|nsfw|browsinglevel|view|page|limit"
    r"|cursor|username|reviewid|postid|imageid|modelid|fbclid|gclid|si"
)
"""Parameters that choose no file."""
_NUMBER = re.compile(r"\d{1,12}")
_AIR = re.compile(
    r"urn:air:[\w.-]+:[\w.-]+:civitai:(?P<model>\d{1,12})(?:@(?P<version>\d{1,12}))?"
    r"(?::(?P<layer>[\w-]+))?(?:\.(?P<format>\w+))?(?:\?(?P<query>.*))?",
    re.IGNORECASE,
)
_AIR_FORMATS = {"safetensor": "SafeTensor", "safetensors": "SafeTensor", "ckpt": "PickleTensor", "pt": "PickleTensor"}
_SHORT = re.compile(
    r"civitai:(?:(?:model|models)/(?P<page>\d{1,12})|(?P<first>\d{1,12})(?:@(?P<second>\d{1,12}))?)(?:\?(?P<query>.*))?",
    re.IGNORECASE,
)
_FORMS = "CivitAI references are civitai:<version id>, civitai:<model id>@<version id> or a page URL"


@dataclass(frozen=True, slots=True)
class Civitai(Locator):
    """A CivitAI model version (or the newest of a model), with the query that chooses among its files."""

    version: int | None
    model: int | None = None
    choices: tuple[tuple[str, str], ...] = ()

    access_hint = (
        "Set CIVITAI_API_KEY or give the model a token; early-access models need an account that has bought them."
    )

    @property
    def key(self) -> str:
        """``civitai:<version>`` or ``civitai:model/<model>``, plus the choices."""
        name = f"civitai:{self.version}" if self.version is not None else f"civitai:model/{self.model}"
        return f"{name}?{urlencode(self.choices)}" if self.choices else name

    @property
    def aliases(self) -> tuple[str, ...]:
        """The version alone: a bare version stands for the file that a catalog chose of it."""
        return () if self.version is None else (f"civitai:{self.version}",)

    @property
    def suffix(self) -> str:
        """The version id, where that is all."""
        if self.version is not None and not self.choices:
            return str(self.version)
        return short_hash(self.key)


def parse(text: str, revision: str | None) -> Civitai | None:
    """Return the locator of a CivitAI page, download address, short form or AIR."""
    lowered = text.lower()
    if lowered.startswith("urn:air:"):
        return _air(text, revision)
    if lowered.startswith("civitai:"):
        return _short(text, revision)
    parts = split_url(text)
    if parts is None or (parts.hostname or "").lower().removeprefix("www.") not in HOSTS:
        return None
    query = unescape(parts.query)
    for pattern in (r"/api/download/models/(\d{1,12})/?", r"/(?:api/v1/)?model-versions/(\d{1,12})/?"):
        if match := re.fullmatch(pattern, parts.path):
            return _checked(int(match[1]), None, query, revision)
    page = re.match(r"/(?:api/v1/)?models/(\d{1,12})(?:/|$)", parts.path)
    return _checked(None, int(page[1]), query, revision) if page else None


def token_in(text: str) -> str | None:
    """Return the token that an address holds, as CivitAI's own examples write it."""
    inside = dict(parse_qsl(unescape(text.partition("?")[2]))).get("token", "")
    return inside if inside.isascii() and inside.isprintable() and inside else None


def _short(text: str, revision: str | None) -> Civitai:
    match = _SHORT.fullmatch(unescape(text))
    if match is None:
        raise BadReference(_FORMS)
    query = match["query"] or ""
    if match["page"]:
        return _checked(None, int(match["page"]), query, revision)
    if match["second"]:
        return _checked(int(match["second"]), int(match["first"]), query, revision)
    first = int(match["first"])
    if revision is not None and revision != match["first"] and _NUMBER.fullmatch(revision):
        return _checked(None, first, query, revision)
    return _checked(first, None, query, revision)


def _air(text: str, revision: str | None) -> Civitai:
    match = _AIR.fullmatch(unescape(text))
    if match is None:
        raise BadReference("of AIRs only CivitAI's are known: urn:air:<base>:<type>:civitai:<model id>@<version id>")
    if match["layer"]:
        raise BadReference(f"names the layer {match['layer']!r} of a model; only whole files can be fetched")
    query = match["query"] or ""
    if match["format"]:
        form = _AIR_FORMATS.get(match["format"].lower())
        if form is None:
            raise BadReference(f"names the format {match['format']!r}; known are {', '.join(_AIR_FORMATS)}")
        query = "&".join(part for part in (query, f"format={form}") if part)
    version = int(match["version"]) if match["version"] else None
    return _checked(version, int(match["model"]), query, revision)


def _checked(version: int | None, model: int | None, query: str, revision: str | None) -> Civitai:
    """Return the locator; every parameter is understood, known to be harmless, or refused, and none contradicts."""
    pairs = [(name, value) for name, value in parse_qsl(query) if not _HARMLESS.fullmatch(name.lower())]
    said = [("the reference", str(version))] if version is not None else []
    said += [pair for pair in pairs if pair[0].lower() == _VERSION]
    if revision is not None:
        said.append(("version", revision))
    for where, value in said:
        if not _NUMBER.fullmatch(value):
            raise BadReference(f"a CivitAI version is its number; {where} says {value[:40]!r}")
    numbers = {int(value) for _, value in said}
    if 0 in (model, *numbers):
        raise BadReference("CivitAI's numbers begin with 1")
    if len(numbers) > 1:
        told = ", ".join(f"{where} says {value}" for where, value in said)
        raise BadReference(f"names different versions: {told}")
    choices = _choices([pair for pair in pairs if pair[0].lower() != _VERSION])
    return Civitai(next(iter(numbers), None), model, tuple(sorted(choices.items())))


def _choices(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters that choose a file, one spelling for each."""
    choices: dict[str, str] = {}
    for name, value in pairs:
        known = CHOICES.get(name.lower())
        if known is None:
            raise BadReference(f"the parameter {name[:40]!r} is unknown, and may choose among files; leave it out")
        if known == "fileId" and not _NUMBER.fullmatch(value):
            raise BadReference(f"a CivitAI fileId is a number, not {value[:40]!r}")
        same = VALUES.get(value.lower(), value)
        if choices.setdefault(known, same) != same:
            raise BadReference(f"gives {known} twice: {choices[known]!r} and {same!r}")
    return choices


class CivitaiSource:
    """CivitAI.

    Args:
        fetcher: Guarded HTTP.
        limits: Time limits of one request.
        token: Sent to `base` only.
        base: The site's address.
    """

    def __init__(self, fetcher: Fetcher, limits: FetchLimits, *, token: str | None = None, base: str = BASE) -> None:
        self.fetcher = fetcher
        self._limits = limits
        self._token = token
        self._base = base

    def offer(self, locator: Civitai, *, token: str | None) -> Offer:
        """Return the file that a version and its choices mean."""
        secrets = bearer(token or self._token)
        try:
            about = self._ask(locator, secrets)
        except UnknownModel as error:
            raise Denied(f"CivitAI knows no {locator.key}{error}", status=404, host="civitai.com") from None
        except FetchError:
            if locator.version is None:
                raise
            about = CivitaiFile(locator.version)  # the download works without it
        exact = replace(locator, version=about.version, model=None)
        by_id = None if about.id is None else replace(exact, choices=(("fileId", str(about.id)),))
        plain = replace(exact, choices=())
        keys = [exact.key, *([by_id.key] if by_id else []), *([plain.key] if about.primary else [])]
        listed = f"; the version has {', '.join(about.files)}" if about.files else ""
        urls = [download_url(self._base, each) for each in (exact, by_id) if each is not None]
        return Offer(
            HttpFile(
                self.fetcher,
                lambda: urls[0],
                secrets=secrets,
                limits=self._limits,
                otherwise=tuple(dict.fromkeys(urls[1:])),
                listed=listed,
            ),
            name=about.name,
            sha256=about.sha256,
            base_model=about.base_model,
            trigger_words=about.trigger_words,
            also=tuple(key for key in dict.fromkeys(keys) if key != locator.key),
            left_open=about.left_open,
        )

    def _ask(self, locator: Civitai, secrets: Mapping[str, str]) -> CivitaiFile:
        """Return what CivitAI says about a locator.

        Raises:
            FetchError: no answer, or none of CivitAI's own.
            UnknownModel: the answer names no version, or not the file.
        """
        path = f"model-versions/{locator.version}" if locator.version is not None else f"models/{locator.model}"
        limits = self._limits
        bounds = FetchLimits(limits.connect_s, limits.read_s, 4 * limits.read_s, MAX_ANSWER_BYTES, limits.redirects)
        with self.fetcher.open(f"{self._base}/api/v1/{path}", secrets=secrets, limits=bounds) as body:
            if body.status != _FINE:
                raise refusal(body, time.time(), secrets=secrets)
            raw = body.read()
        try:
            data = orjson.loads(raw)
        except ValueError:  # a page of a proxy before it
            raise Busy("CivitAI answered with something else than JSON", retry_after_s=None, status=_FINE) from None
        return read_answer(data, version=locator.version, model=locator.model, choices=locator.choices)


def connect(connection: Connection) -> CivitaiSource:
    """Return the source."""
    secret = connection.settings.civitai_token
    token = secret.get_secret_value() if secret else None
    return CivitaiSource(connection.fetcher, connection.limits, token=token)


def download_url(base: str, locator: Civitai) -> str:
    """Return the address of a version's file."""
    query = f"?{urlencode(locator.choices)}" if locator.choices else ""
    return f"{base}/api/download/models/{locator.version}{query}"


CIVITAI = SourceKind(Civitai, parse, connect, token_in, has_versions=True)
