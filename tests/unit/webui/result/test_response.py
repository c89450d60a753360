"""What an answer of the WebUI says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from worker.webui.result.response import read_info


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
