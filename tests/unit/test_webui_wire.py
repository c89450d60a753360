from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.webui import wire

PAD = "A" * wire.LARGE


def same(content: bytes) -> None:
    """`loads` has to say what orjson says, errors included."""
    try:
        expected: Any = orjson.loads(content)
    except orjson.JSONDecodeError:
        with pytest.raises(orjson.JSONDecodeError):
            wire.loads(content)
    else:
        assert wire.loads(content) == expected


@pytest.mark.parametrize(
    "content",
    [
        b'{"images":["%s"],"info":"{}"}',
        b' { "images" : [ "%s" , "QUJD" ] , "parameters" : {"images": ["x"]} } ',
        b'{"images":["%s"]}',
        b'{"images":[],"x":"%s"}',
        b'{"images":["%s",null]}',
        b'{"images":[["%s"]]}',
        b'{"images":["a\\"b","%s"]}',
        b'{"images":["\xc3\xa9","%s"]}',
        b'{"images":["\xff","%s"]}',
        b'{"images":["%s"',
        b'{"images":["%s',
        b'{"images":["%s",]}',
        b'{"images":["%s"]}}',
        b'{"images":["%s"],"images":["second"]}',
        b'["%s"]',
    ],
)
def test_it_says_what_a_plain_parser_says(content: bytes) -> None:
    same(content.replace(b"%s", PAD.encode()))


@given(
    images=st.lists(st.text(max_size=20), max_size=4),
    info=st.text(max_size=20),
    at=st.integers(0, 400),
    ascii_only=st.booleans(),
)
def test_whatever_the_texts_and_wherever_it_is_cut(images: list[str], info: str, at: int, *, ascii_only: bool) -> None:
    whole = json.dumps({"images": [*images, PAD], "info": info}, ensure_ascii=ascii_only)
    content = whole.encode("utf-8", "surrogatepass")
    same(content)
    same(content[: -at or None])
