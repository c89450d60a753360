from __future__ import annotations

import pytest

from worker.common.redaction import hide_url_credentials


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("http://user:pass@host/a?b=1", "http://***@host/a?b=1"),
        ("POST http://token@host:80 failed", "POST http://***@host:80 failed"),
        ("/file?X-Amz-Signature=abc&part=2", "/file?X-Amz-Signature=***&part=2"),
        ("https://h/?api_key=1&key=2&token=3&sig=4", "https://h/?api_key=***&key=***&token=***&sig=***"),
        ("('http://a:b@c/', 'http://d:e@f/?Token=g')", "('http://***@c/', 'http://***@f/?Token=***')"),
        ("mail me@host.org, steps=20, seed=1", "mail me@host.org, steps=20, seed=1"),
        ("http://host/a@b?c=d", "http://host/a@b?c=d"),
    ],
)
def test_credentials_of_urls_are_hidden_and_nothing_else(text: str, hidden: str) -> None:
    assert hide_url_credentials(text) == hidden
