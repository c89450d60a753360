from __future__ import annotations

import pytest

from worker.client import BadSignature, read_webhook
from worker.serving import webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"id": "j", "status": "COMPLETED", "output": {"images": [], "seeds": [1]}}'
NOW = 1_700_000_000.0


def test_it_signs_as_the_standard_says() -> None:
    """The example of the Standard Webhooks specification."""
    sent = webhook.headers(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', now=1614265330)
    assert sent["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signed_result_is_read() -> None:
    sent = webhook.headers(SECRET, "j", BODY, now=NOW)
    state = read_webhook(SECRET, {name.title(): value for name, value in sent.items()}, BODY, now=lambda: NOW + 10)
    assert state.answer().seeds == [1]


@pytest.mark.parametrize("secret", ["correct horse battery staple", "whsec_not base64!", "s", "whsec_"])
def test_a_secret_may_be_any_text_and_no_other_secret_fits_it(secret: str) -> None:
    sent = webhook.headers(secret, "j", BODY, now=NOW)
    assert read_webhook(secret, sent, BODY, now=lambda: NOW).answer().seeds == [1]
    for other in ("another secret", secret + "x", SECRET, "whsec_AAAA"):
        assert webhook.headers(other, "j", BODY, now=NOW)["webhook-signature"] != sent["webhook-signature"]
        with pytest.raises(BadSignature):
            read_webhook(other, sent, BODY, now=lambda: NOW)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_needed(missing: str) -> None:
    sent = {name: value for name, value in webhook.headers(SECRET, "j", BODY, now=NOW).items() if name != missing}
    with pytest.raises(BadSignature):
        read_webhook(SECRET, sent, BODY, now=lambda: NOW)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"webhook-id": "k"}, "no signature fits"),
        ({"webhook-signature": "v1,AAAA v2,x"}, "no signature fits"),
        ({"webhook-timestamp": "soon"}, "no number"),
        ({"webhook-timestamp": "9" * 5000}, "no number"),
        ({"webhook-timestamp": str(int(NOW - 1000))}, "ago"),
    ],
)
def test_what_was_changed_or_is_old_is_refused(change: dict[str, str], why: str) -> None:
    sent = {**webhook.headers(SECRET, "j", BODY, now=NOW), **change}
    with pytest.raises(BadSignature, match=why):
        read_webhook(SECRET, sent, BODY, now=lambda: NOW)


def test_another_secret_body_or_a_missing_header_is_refused() -> None:
    sent = webhook.headers(SECRET, "j", BODY, now=NOW)
    for secret, headers, body in (("other", sent, BODY), (SECRET, sent, BODY + b" "), (SECRET, {}, BODY)):
        with pytest.raises(BadSignature):
            read_webhook(secret, headers, body, now=lambda: NOW)
