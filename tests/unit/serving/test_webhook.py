from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest

from worker.client import BadSignature, read_webhook
from worker.serving.webhook_sender import without_pictures
from worker.serving.webhook_signature import signature_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = '{"id": "j", "status": "COMPLETED", "output": {"images": [], "seeds": [1], "text": "grüße"}}'.encode()


def test_it_signs_as_the_standard_says() -> None:
    """The example of the Standard Webhooks specification."""
    sent = signature_headers(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', now=1614265330)
    assert sent["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", ["plain text", "dGV4dA==", "whsec_not base64", "whsec_"])
def test_a_text_that_is_no_standard_secret_is_the_key_itself(secret: str) -> None:
    sent = signature_headers(secret, "j", BODY, now=1700000000.9)
    digest = hmac.new(secret.encode(), b"j.1700000000." + BODY, hashlib.sha256).digest()
    assert sent["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize("secret", [SECRET, "plain text"])
def test_a_signed_result_is_read(secret: str) -> None:
    sent = signature_headers(secret, "j", BODY, now=time.time() - 10)
    state = read_webhook(secret, {name.title(): value for name, value in sent.items()}, BODY)
    assert state.answer().seeds == [1]


@pytest.mark.parametrize("secret", ["correct horse battery staple", "whsec_not base64!", "s", "whsec_"])
def test_a_secret_may_be_any_text_and_no_other_secret_fits_it(secret: str) -> None:
    now = time.time()
    sent = signature_headers(secret, "j", BODY, now=now)
    assert read_webhook(secret, sent, BODY).answer().seeds == [1]
    for other in ("another secret", secret + "x", SECRET, "whsec_AAAA"):
        assert signature_headers(other, "j", BODY, now=now)["webhook-signature"] != sent["webhook-signature"]
        with pytest.raises(BadSignature):
            read_webhook(other, sent, BODY)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_needed(missing: str) -> None:
    sent = signature_headers(SECRET, "j", BODY, now=time.time())
    del sent[missing]
    with pytest.raises(BadSignature):
        read_webhook(SECRET, sent, BODY)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"webhook-id": "k"}, "No matching signature"),
        ({"webhook-signature": "v1,AAAA v2,x"}, "No matching signature"),
        ({"webhook-signature": "v1"}, "Invalid"),
        ({"webhook-signature": "v1,A"}, "Invalid"),
        ({"webhook-timestamp": "soon"}, "Invalid"),
        ({"webhook-timestamp": "9" * 5000}, "Invalid"),
        ({"webhook-timestamp": str(int(time.time() - 1000))}, "too old"),
        ({"webhook-timestamp": str(int(time.time() + 1000))}, "too new"),
    ],
)
def test_what_was_changed_or_is_old_is_refused(change: dict[str, str], why: str) -> None:
    sent = {**signature_headers(SECRET, "j", BODY, now=time.time()), **change}
    with pytest.raises(BadSignature, match=why):
        read_webhook(SECRET, sent, BODY)


def test_another_secret_body_or_a_missing_header_is_refused() -> None:
    sent = signature_headers(SECRET, "j", BODY, now=time.time())
    for secret, headers, body in (("other", sent, BODY), (SECRET, sent, BODY + b" "), (SECRET, {}, BODY)):
        with pytest.raises(BadSignature):
            read_webhook(secret, headers, body)


def test_nobody_forges_a_result_by_another_plain_secret() -> None:
    sent = signature_headers("anything", "j", BODY, now=time.time())
    with pytest.raises(BadSignature):
        read_webhook("plain text", sent, BODY)


def test_a_result_without_pictures_keeps_links_and_everything_short() -> None:
    output = {"images": ["x" * 50_000, "https://bucket/2.png"], "seeds": [1, 2], "parts": [{"images": ["y" * 50_000]}]}
    assert without_pictures({"id": "j", "status": "COMPLETED", "output": output}) == {
        "id": "j",
        "status": "COMPLETED",
        "output": {"images": ["https://bucket/2.png"], "seeds": [1, 2], "parts": [{"images": []}], "truncated": True},
        "truncated": True,
    }
