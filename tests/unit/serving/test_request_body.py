"""Bodies that are no JSON: the refusal says why, and repeats nothing of them."""

from __future__ import annotations

import gzip
import json
from http import HTTPStatus

import pytest

from worker.serving.http_api.api_errors import RequestRefused
from worker.serving.http_api.request_body import MAX_SEPARATORS, parse_job, parse_json


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b'{"a": "\xff"}', "byte 8 is not UTF-8"),
        (b"{", "at line 1, column 2"),
        (b'{"a": 1}\n secret', "Extra data at line 2, column 2"),
        (b"prompt=secret", "at line 1, column 1"),
        (b"[" * 200_000, "it is nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "it is nested too deeply"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "it has a number with too many digits"),
        (gzip.compress(b"{}", mtime=0), "it is compressed; send it as it is"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\nsecret", "it looks like a form"),
    ],
)
def test_a_body_that_is_no_json_is_refused_with_the_reason(body: bytes, why: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_json(body)
    assert caught.value.status == HTTPStatus.BAD_REQUEST
    assert caught.value.message.startswith("the body is not JSON: ")
    assert why in caught.value.message
    assert "secret" not in caught.value.message


def test_a_job_that_gives_a_name_twice_is_refused_with_the_name() -> None:
    with pytest.raises(RequestRefused, match=r"'prompt' is given twice") as caught:
        parse_job(b'{"input": {"prompt": "a cat", "steps": 3, "prompt": "a dog"}}')
    assert caught.value.status == HTTPStatus.BAD_REQUEST
    assert parse_job(b'{"input": {"stages": [{"prompt": "a"}, {"prompt": "b"}]}}')
    assert parse_json(b'{"prompt": "a cat", "prompt": "a dog"}') == {"prompt": "a dog"}, "as A1111 itself reads it"


def test_values_beyond_counting_are_refused_unparsed() -> None:
    with pytest.raises(RequestRefused, match=f"more than {MAX_SEPARATORS} values"):
        parse_json(b"[" + b"[]," * MAX_SEPARATORS + b"[]]")


@pytest.mark.parametrize("text", ['{"a": 123456789012345678901234567890}', '{"a": NaN}', '\ufeff{"a": 1}'])
def test_what_the_jobs_own_checks_have_words_for_is_read(text: str) -> None:
    assert list(parse_json(text.encode())) == ["a"]
    assert isinstance(parse_json(json.dumps({"a": "ä"}).encode("utf-16")), dict)
