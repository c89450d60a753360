"""No secret leaves the worker: everything that jobs leave behind is searched for every secret there is."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import requests

from tests.support.jobsource import JobSource
from tests.support.rig import SMALL, Rig
from tests.support.servers.fake_s3 import FakeStore, error, fake_store

if TYPE_CHECKING:
    from tests.support.loopback_http import Reply, Request

SECRETS = {
    "HF_TOKEN": "hf_sesame-one-0123456789",
    "CIVITAI_API_KEY": "sesame-two-0123456789",
    "BUCKET_SECRET_ACCESS_KEY": "sesame-three-0123456789",
    "RUNPOD_AI_API_KEY": "sesame-four-0123456789",
    "HTTP_API_KEY": "sesame-eight-0123456789",
    "WEBHOOK_SECRET": "whsec_c2VzYW1lLW5pbmUtMDEyMzQ1Njc4OQ==",
    "AWS_SECRET_ACCESS_KEY": "sesame-ten-0123456789",
}
PUSH_PASSWORD = "sesame-eleven-0123456789"
JOBS_SECRETS = ["sesame-five-0123456789", "sesame-six-0123456789", "sesame-seven-0123456789"]


def bad_jobs(store: FakeStore) -> list[dict[str, object]]:
    token, secret, signed = JOBS_SECRETS
    own = {
        "accessId": "somebody",
        "accessSecret": secret,
        "bucketName": "pics",
        "endpointUrl": store.server.url,
    }
    url = f"http://127.0.0.1:9/model.safetensors?X-Amz-Signature={signed}"
    return [
        {"input": {**SMALL, "checkpoint": {"url": url, "token": token}}},
        {"input": {**SMALL, "loras": [{"name": "nobody", "token": token}]}},
        {"input": {**SMALL, "loras": [{"name": "nobody", "tokn": token}]}},
        {"input": {**SMALL, "init_images": [f"http://127.0.0.1:9/a.png?X-Amz-Signature={signed}"], "type": "img2img"}},
        {"input": SMALL, "s3Config": own},
        {"input": {**SMALL, "output": {"delivery": "s3"}, "seed": 3}, "s3Config": {**own, "bucketName": "denied"}},
        {"input": SMALL, "s3Config": {**own, "endpointUrl": 5}},
        {"input": SMALL, "s3Config": {**own, "accessSecret": [secret]}},
        {"input": {**SMALL, "output": {"delivery": "s3"}, "seed": 4}},
    ]


def test_no_secret_is_in_anything_that_jobs_leave_behind(tmp_path: Path) -> None:
    def fault(request: Request, _number: int) -> Reply | None:
        return error(403, "AccessDenied") if "denied" in request.path else None

    with JobSource(hold_s=1.0) as source, fake_store(fault) as store:
        more = {
            "BUCKET_ENDPOINT_URL": store.server.url,
            "BUCKET_NAME": "pics",
            "BUCKET_ACCESS_KEY_ID": "operator",
            "ALLOW_HOSTS": f"127.0.0.1:{store.server.url.rpartition(':')[2]}",
            "RESULTS_DIR": str(tmp_path / "kept"),
            "LOG_LEVEL": "debug",
            "METRICS_PUSH_URL": f"http://worker:{PUSH_PASSWORD}@127.0.0.1:9",
            "METRICS_PUSH_EVERY_S": "1",
            "A_COPY": f"token={SECRETS['HF_TOKEN']}",
        }
        seen: list[bytes] = []
        with Rig(tmp_path, source, **SECRETS, **more) as rig:
            rig.run()
            answers = [rig.answer(source.offer(job)) for job in bad_jobs(store)]
            assert sum("images" in answer for answer in answers) == 2
            rig.fault("error", error="RuntimeError", message="nothing to hide")
            rig.run(seed=9)
            rig.fault("die")
            rig.run(seed=10)
            webui = rig.webui()
            seen += [str(webui.cmdline()).encode(), str(webui.environ()).encode()]
            seen += [str(process.cmdline()).encode() for process in rig.worker.family()]
            seen.append(str(psutil.Process(rig.worker.pid).cmdline()).encode())
            seen.append(requests.get(f"{rig.url}/standin/requests", timeout=10).content)
            seen += [
                path.read_bytes() for path in Path(f"/tmp/a1111-worker-{rig.worker.pid}").rglob("*") if path.is_file()
            ]
            for process in (webui, psutil.Process(rig.worker.pid)):
                assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0), "a core file would hold all of them"
            rig.worker.terminate()
            rig.worker.wait()
            seen.append(rig.worker.log.encode())
        seen += [json.dumps(event.data, default=str).encode() for event in source.events() if event.kind != "offered"]
        for path in tmp_path.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and path.suffix != ".safetensors":
                    seen.append(path.read_bytes())
        assert len(seen) > 30
        assert any(b"figures can't be pushed" in text for text in seen)
        for secret in [*SECRETS.values(), *JOBS_SECRETS, PUSH_PASSWORD]:
            places = [
                text[max(0, text.find(secret.encode()) - 200) :][:300] for text in seen if secret.encode() in text
            ]
            assert not places, f"{secret} is in {places[0]!r}"


@pytest.mark.slow
def test_prompts_are_in_no_log_when_the_operator_says_so(tmp_path: Path) -> None:
    with JobSource(hold_s=1.0) as source, Rig(tmp_path, source, LOG_PROMPTS="false", LOG_LEVEL="debug") as rig:
        rig.run()
        private = {"prompt": "something private", "negative_prompt": "something private"}
        assert "images" in rig.run(**private)
        assert rig.run(**private, steps="many")["error_code"] == "invalid_input"
        assert rig.run(prompt="<lora:something private:1>")["error_code"] == "invalid_input"
        rig.fault("error", error="RuntimeError", message="while drawing 'something private'")
        assert "something private" in rig.run(**private, seed=2)["error"], "the client may know"
        rig.fault("die")
        rig.run(**private, seed=3)
        rig.worker.terminate()
        rig.worker.wait()
        assert "something private" not in rig.worker.log


def test_the_webui_listens_on_loopback_only(tmp_path: Path) -> None:
    with JobSource(hold_s=1.0) as source, Rig(tmp_path, source) as rig:
        rig.run()
        listening = [
            connection.laddr.ip
            for connection in rig.webui().net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening == ["127.0.0.1"]


@pytest.mark.slow
def test_a_crash_tells_a_client_nothing_of_other_jobs(tmp_path: Path) -> None:
    with JobSource(hold_s=1.0) as source, Rig(tmp_path, source, RERUNS="0") as rig:
        rig.run()
        rig.fault("error", error="RuntimeError", message="somebody else's prompt")
        assert "somebody else's prompt" in rig.run(seed=1)["error"]
        rig.fault("die")
        answer = rig.run(seed=2)
        assert answer["error_code"] == "webui_crashed"
        assert "somebody else's prompt" not in json.dumps(answer)
