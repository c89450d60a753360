"""Answers of the WebUI, read, and those that have not the shape of one."""

from __future__ import annotations

from typing import Any

import pytest

from worker.errors import WrongResult
from worker.webui.result.response import read, read_info


@pytest.mark.parametrize(
    ("info", "parsed"),
    [
        ('{"seed": 7}', {"seed": 7}),
        ({"seed": 7}, {"seed": 7}),
        ("[7]", {}),
        ("7", {}),
        ("{", {}),
        ("", {}),
        (None, {}),
        (7, {}),
    ],
)
def test_info_is_an_object_or_nothing(info: Any, parsed: dict[str, Any]) -> None:
    assert read_info({"info": info}) == parsed


@pytest.mark.parametrize(
    "content",
    [
        {"images": ["AA"], "info": "[7]"},
        {"images": ["AA"], "info": ""},
        {"images": "AA", "info": '{"seed": 7}'},
        {"images": ["AA", None], "info": '{"seed": 7}'},
        {"info": '{"seed": 7}'},
        [],
        None,
    ],
)
def test_an_answer_of_another_shape_is_no_result(content: Any) -> None:
    with pytest.raises(WrongResult):
        read(content)
