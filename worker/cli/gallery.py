"""``worker gallery DIR | s3://bucket/prefix``: a page to look through pictures, keep some and have them finished."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import signal
import socket
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.endpoint_option import LOCAL, named_endpoint
from worker.cli.printing import complain, with_hint, write
from worker.errors import WorkerError
from worker.gallery.live_gallery import Gallery
from worker.gallery.store.folder import Folder
from worker.gallery.store.opening import open_store
from worker.gallery.store.picture_store import StoreUnavailable
from worker.gallery.thumbnails import cache_folder
from worker.gallery.web.access import Access
from worker.gallery.web.gallery_server import PATH, server
from worker.gallery.web.offline import write_page
from worker.ingress import LOOPBACK
from worker.settings import read_settings
from worker.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.gallery.job_endpoint import JobEndpoint
    from worker.settings import Settings

app = typer.Typer(add_completion=False)


@app.command()
def gallery(
    where: Annotated[str, typer.Argument(metavar="DIR|s3://BUCKET/PREFIX", help="Folder or bucket with the pictures.")],
    *,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE", help="Runs the jobs of U and R: a RunPod endpoint's id, a worker's URL, or local."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 to open the page on a phone.")] = LOOPBACK[0],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")] = 8100,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Another host name of this server.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Allow moving rejected pictures to .trash/.")] = False,
    page: Annotated[
        bool, typer.Option("--page", help="Write DIR/gallery.html, a page that needs no server, and exit.")
    ] = False,
) -> None:
    """Show pictures on a web page: keep, reject, compare, and finish the kept ones.

    Decisions are appended to curation.jsonl beside the pictures; the pictures are never changed. Runs until Ctrl-C. The
    API key of --endpoint is read from the same variables as in `submit`. HTTP_API_KEY protects the page; where it is
    not set, a key is generated if other machines can reach the page. Exit code 1 when the pictures can't be read.
    """
    logs.configure(level="warning", json=False)
    try:
        settings = read_settings(os.environ)
        store = open_store(where, settings)
        if page:
            _write_page(Gallery(store, cache_folder(os.environ)))
            return
        with _runner(endpoint) as runner:
            pictures = Gallery(store, cache_folder(os.environ), may_delete=delete, endpoint=runner)
            pictures.catalog.scan()
            _serve(pictures, settings, host, port, allow_host or [])
    except (StoreUnavailable, WorkerError) as error:
        complain(f"gallery: {with_hint(error)}")
        raise typer.Exit(1) from error


def _write_page(pictures: Gallery) -> None:
    if not isinstance(pictures.store, Folder):
        raise typer.BadParameter("--page: needs a folder")
    pictures.catalog.scan()
    write(f"Open {write_page(pictures)}")


@contextlib.contextmanager
def _runner(endpoint: str | None) -> Iterator[JobEndpoint | None]:
    """Yield the place that runs jobs, None where none does."""
    if endpoint != LOCAL:
        yield None if endpoint is None else named_endpoint(endpoint)
        return
    from worker.cli.embedded_worker import embedded_worker  # noqa: PLC0415 - brings the whole worker along

    complain("Starting a worker in this process …")
    with embedded_worker() as runner:
        yield runner


def _is_everywhere(host: str) -> bool:
    """Return whether `host` stands for all addresses of this machine, which no browser can open."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _address_of_this_machine() -> str:
    """Return the address under which others in the network reach this machine; its name where it has no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))  # of nobody: it only chooses the way, and nothing is sent
            return str(asked.getsockname()[0])
        except OSError:
            return socket.gethostname()


def _serve(pictures: Gallery, settings: Settings, host: str, port: int, hosts: list[str]) -> None:
    from worker.serving.http_api.listener import listen  # noqa: PLC0415 - not where the pictures can't be read

    key = settings.http_api_key.get_secret_value() if settings.http_api_key is not None else None
    is_made_up = key is None and host not in LOOPBACK
    if is_made_up:
        key = secrets.token_urlsafe(16)
    try:
        listener: socket.socket = listen(host, port)
    except OSError as error:
        raise typer.BadParameter(f"--port {port} of {host} can't be listened on: {error.strerror}") from error
    chosen = listener.getsockname()[1]
    reached = _address_of_this_machine() if _is_everywhere(host) else host
    shown = f"[{reached}]" if ":" in reached else reached
    pictures.start()
    count, secret = pictures.catalog.size, f"#key={key}" if is_made_up else ""
    write(f"{count} picture{'' if count == 1 else 's'} at http://{shown}:{chosen}{PATH}/{secret}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the server passes it on when it has ended
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server(pictures, Access(key, hosts), host, chosen).run(sockets=[listener])
    finally:
        pictures.close()
