"""The interface of a model source: a place that references can point to, and that files are downloaded from.

A new source is one module with a locator, a parser and a `Source`, and one line in
`worker.models.sources.references.SOURCES`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from worker.models.format.filenames import short_hash

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.models.sources.http_file import RemoteFile
    from worker.net.fetch import Fetcher, FetchLimits
    from worker.settings import Settings


class Locator(ABC):
    """The place that the bytes of a file come from.

    Its `key` identifies the source in the registry, in leases and in logs: it never holds a secret (a URL's query is
    represented by a hash), and the same source always has the same key.
    """

    __slots__ = ()

    access_hint = "If the address needs a login, give the model a token (sent as a bearer token) or use a signed URL."
    """Advice when the source denies access."""
    absent_hint = "Check the id or address; the author may have removed the model."
    """Advice when the source has no such file."""
    refused_hint = "Check the address."
    """Advice when the source refuses for another reason."""

    @property
    @abstractmethod
    def key(self) -> str:
        """The identity of the source, without secrets."""

    @property
    def file_name(self) -> str:
        """The file's name as the reference tells it; may be empty."""
        return ""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Keys of less specific locators that a catalog's entry for this one answers too."""
        return ()

    @property
    def suffix(self) -> str:
        """The part of file names that stands for the source."""
        return short_hash(self.key)

    @property
    def site(self) -> tuple[str, ...]:
        """The site that a token is given for."""
        return (type(self).__name__,)


@dataclass(frozen=True, slots=True)
class Offer:
    """A file as its source offers it.

    Attributes:
        remote: Its bytes, in ranges.
        library: Downloads the file into a folder by the source's own client library, and is tried first; calls its
            second argument with the bytes that came since the last call, and raises `FetchError`.
        name: The file's name there; None when only the download tells.
        size: Bytes, when the source says so beforehand.
        sha256: The SHA-256 that the source states.
        base_model: The base model that the source states.
        trigger_words: The trigger words that the source states.
        also: Keys of other locators for this very file.
        left_open: What the reference does not decide, in words; None: it means exactly this file.
    """

    remote: RemoteFile
    library: Callable[[Path, Callable[[int], None]], Path] | None = field(default=None, repr=False)
    name: str | None = None
    size: int | None = None
    sha256: str | None = None
    base_model: str | None = None
    trigger_words: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    left_open: str | None = None


L = TypeVar("L", bound=Locator)
L_contra = TypeVar("L_contra", bound=Locator, contravariant=True)


class Source(Protocol[L_contra]):
    """A connected source. Its methods block and are called in threads.

    Attributes:
        fetcher: By which its files come.
    """

    fetcher: Fetcher

    def offer(self, locator: L_contra, *, token: str | None) -> Offer:
        """Return the file that a locator points to.

        Args:
            locator: Of this source's own type.
            token: The job's own; takes the place of the configured one, for the same site only.

        Raises:
            FetchError: there is none, or it can't be had.
        """


@dataclass(frozen=True, slots=True)
class Connection:
    """The parts that sources are built from.

    Attributes:
        settings: Tokens and addresses.
        fetcher: Guarded HTTP.
        limits: Time limits of one request.
        connections: Kept open at once.
    """

    settings: Settings
    fetcher: Fetcher
    limits: FetchLimits
    connections: int


@dataclass(frozen=True, slots=True)
class SourceKind(Generic[L]):
    """One kind of source.

    Attributes:
        locator: The type of its locators.
        parse: ``parse(text, revision)`` → the locator, or None when the text is not a reference to this source; raises
            `BadReference` for a broken one.
        connect: Builds the source. Raises SettingsInvalid.
        token_in: Returns the token that a reference's text holds, if any.
        has_versions: A reference may come with a revision; elsewhere one is refused.
    """

    locator: type[L]
    parse: Callable[[str, str | None], L | None]
    connect: Callable[[Connection], Source[L]]
    token_in: Callable[[str], str | None] = lambda _: None
    has_versions: bool = False


AnyKind = SourceKind[Any]


def bearer(token: str | None) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"} if token else {}
