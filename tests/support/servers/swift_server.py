"""OpenStack Swift's S3 API in one process, on loopback: `python swift_server.py FOLDER`.

Prints its port on the first line of stdout when it takes requests. Unlike the usual stand-ins it is honest: expired or
forged signatures, wrong secrets and wrong checksums are refused. The access key is `test:tester`, the secret `testing`.
One account, container and object server each, one replica, in FOLDER.
"""

import sys
from pathlib import Path

import eventlet

eventlet.monkey_patch()

from array import array  # noqa: E402 - after the patch

from eventlet import wsgi  # noqa: E402 - as above

ACCESS_KEY, SECRET_KEY = "test:tester", "testing"
DEVICE = "disk"


def main(folder: Path) -> None:
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = test\n[storage-policy:0]\nname = only\ndefault = yes\n"
    )
    (folder / "devices" / DEVICE).mkdir(parents=True)
    (folder / "locks").mkdir()
    from swift.common import storage_policy, utils

    utils.set_swift_dir(str(folder))
    utils.validate_configuration()
    storage_policy.reload_storage_policies()

    sockets = {name: eventlet.listen(("127.0.0.1", 0)) for name in ("proxy", "account", "container", "object")}
    for name in ("account", "container", "object"):
        write_ring(folder / f"{name}.ring.gz", sockets[name].getsockname()[1])
    for name in ("account", "container", "object"):
        eventlet.spawn(wsgi.server, sockets[name], backend(name, folder), log=Quiet(), log_output=False)
    eventlet.spawn(announce, sockets["proxy"].getsockname()[1])
    wsgi.server(sockets["proxy"], proxy(folder), log=Quiet(), log_output=False, minimum_chunk_size=65536)


def write_ring(path: Path, port: int) -> None:
    from swift.common.ring import RingData

    device = {
        "id": 0,
        "zone": 0,
        "region": 1,
        "device": DEVICE,
        "weight": 1.0,
        "meta": "",
        "ip": "127.0.0.1",
        "port": port,
        "replication_ip": "127.0.0.1",
        "replication_port": port,
    }
    RingData([array("H", [0])], [device], 32).save(str(path))


def backend(name: str, folder: Path) -> object:
    from swift.account.server import AccountController
    from swift.container.server import ContainerController
    from swift.obj.server import ObjectController

    conf = {
        "swift_dir": str(folder),
        "devices": str(folder / "devices"),
        "mount_check": "false",
        "fallocate_reserve": "0",
        "disable_fallocate": "true",
    }
    return {"account": AccountController, "container": ContainerController, "object": ObjectController}[name](conf)


def proxy(folder: Path) -> object:
    from swift.common.middleware import catch_errors, copy, dlo, gatekeeper, listing_formats, slo, tempauth
    from swift.common.middleware.s3api import s3api
    from swift.proxy.server import Application

    conf = {
        "swift_dir": str(folder),
        "allow_account_management": "true",
        "account_autocreate": "true",
        "user_test_tester": f"{SECRET_KEY} .admin",
        "min_segment_size": "1",
    }
    app = Application(conf)
    for layer in (copy, dlo, slo, tempauth, s3api, listing_formats, gatekeeper, catch_errors):
        app = layer.filter_factory(conf)(app)
    return app


def announce(port: int) -> None:
    import http.client

    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/")
            connection.getresponse().read()
            break
        except OSError:
            eventlet.sleep(0.05)
    print(port, flush=True)  # noqa: T201 - the parent waits for it


class Quiet:
    def write(self, _text: str) -> None:
        pass

    info = debug = error = exception = write


if __name__ == "__main__":
    main(Path(sys.argv[1]))
