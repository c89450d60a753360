"""The guard of outgoing connections.

Every connection is made to an address that was checked a moment before, with no second look-up, so DNS can't change
its mind in between. TLS is verified against the *name*; SNI and `Host` are untouched. Works below any client that
stands on urllib3: requests (`worker/net/fetch.py`), botocore (`worker/storage/s3.py`).
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from worker.net.addresses import AllowList, admitted
from worker.net.fetch_errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3.connection import HTTPConnection

    Resolver = Callable[[str, int], list[str]]


_PUBLIC = "Only public http(s) addresses are fetched; the operator can allow others in ALLOW_HOSTS."


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of `host` as text, in the resolver's order. Raises `socket.gaierror`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # Python's own, for a part of more than 63 letters
        raise socket.gaierror(socket.EAI_NONAME, "no host can have that name") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Guard:
    """Decides where connections go.

    Args:
        allow: Hosts that may be reached although they are not public.
        resolver: Host name → addresses; the system's unless a test passes its own.
    """

    def __init__(self, allow: AllowList | None = None, *, resolver: Resolver = resolve) -> None:
        self.allow = allow or AllowList()
        self._resolve = resolver

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of `host` that may be connected to.

        Raises:
            Refused: it has none.
            socket.gaierror: the name is unknown.
        """
        passed = admitted(host, port, self._resolve(host, port), self.allow)
        if not passed:
            raise Refused(f"{host} does not lead to a public address", hint=_PUBLIC)
        return passed

    def connect(self, connection: HTTPConnection) -> socket.socket:
        """Return a socket to a checked address of `connection`'s host; urllib3's errors where that fails."""
        host = connection._dns_host  # noqa: SLF001 - the name as given, a trailing dot included; urllib3 resolves it too
        try:
            addresses = self.addresses(host.strip("[]"), connection.port)
        except socket.gaierror as error:
            raise NameResolutionError(connection.host, connection, error) from error
        failure: OSError | None = None
        for address in addresses:
            try:
                return _open(address, connection)
            except OSError as error:
                failure = error
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(connection, f"{connection.host} did not answer in time") from failure
        raise NewConnectionError(connection, f"{connection.host} refused the connection: {failure}") from failure

    def pools(
        self,
        http: type[HTTPConnectionPool] = HTTPConnectionPool,
        https: type[HTTPConnectionPool] = HTTPSConnectionPool,
    ) -> dict[str, type[HTTPConnectionPool]]:
        """Return pool classes by scheme, made from the given ones, whose connections pass this guard.

        For any client that stands on urllib3: assign it to a `PoolManager`'s `pool_classes_by_scheme`.
        """
        return {"http": self._guarded(http), "https": self._guarded(https)}

    def _guarded(self, pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
        guard = self

        def new_conn(connection: HTTPConnection) -> socket.socket:
            return guard.connect(connection)

        connection_cls = type("GuardedConnection", (pool.ConnectionCls,), {"_new_conn": new_conn})
        return type("GuardedPool", (pool,), {"ConnectionCls": connection_cls})


def _open(address: str, connection: HTTPConnection) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        for option in connection.socket_options or ():
            sock.setsockopt(*option)
        if isinstance(connection.timeout, int | float):
            sock.settimeout(connection.timeout)
        if connection.source_address:
            sock.bind(connection.source_address)
        sock.connect((address, connection.port))
    except BaseException:
        sock.close()
        raise
    return sock
