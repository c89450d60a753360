"""Any body that the WebUI's own API document describes gets a picture or a typed error, from `serve` and the bridge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.served import base64_png

if TYPE_CHECKING:
    from tests.support.served import Served

PICTURE = base64_png()
NAMES = ["Euler a", "DPM++ 2M Karras", "Karras", "Latent", "None", "Other_v1"]
TEXTS = ["", "a cat", *NAMES, "string", "é", "\x00", PICTURE]
ODD = st.none() | st.booleans() | st.sampled_from([0, -1, 2.5, 10**12, "12.5", "x", [], {}, [None], {"a": 1}])
TYPED: dict[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(TEXTS),
    "integer": st.sampled_from([0, 1, 2, 4, 8, 64, "4", 3.7]),
    "number": st.sampled_from([0, 0.5, 1, 7, 1.5, "0.5", 99]),
    "boolean": st.booleans() | st.sampled_from(["true", "no", 1, 0]),
    "array": st.lists(st.sampled_from(TEXTS), max_size=2),
    "object": st.dictionaries(st.sampled_from(["a", "\x00", "", "x" * 300]), ODD, max_size=2),
}
UNIT = st.dictionaries(st.sampled_from(["model", "module", "image", "weight", "ad_model", "enabled", "foo"]), ODD)
SCRIPTS = st.dictionaries(
    st.sampled_from(["ControlNet", "ADetailer", "Refiner", "Tiled VAE", "SD upscale", "Foo", ""]),
    st.fixed_dictionaries({"args": st.lists(UNIT | ODD, max_size=3)}) | ODD,
    max_size=2,
)
NAMED = {
    "alwayson_scripts": SCRIPTS,
    "init_images": st.lists(st.sampled_from([PICTURE, "", "string", "data:,"]), max_size=2),
    "steps": st.sampled_from([1, 2]),
    "batch_size": st.sampled_from([1, 2]),
    "n_iter": st.sampled_from([1, 2]),
}


def some_of(values: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A body with a dozen fields at most."""
    names = st.lists(st.sampled_from(sorted(values)), unique=True, min_size=1, max_size=12)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: values[name] for name in chosen}))


@pytest.fixture(scope="module")
def bodies(served: Served) -> dict[str, st.SearchStrategy[dict[str, Any]]]:
    """Path → bodies by the WebUI's own document."""
    document = requests.get(f"{served.webui}/openapi.json", timeout=10).json()
    found = {}
    for path in ("txt2img", "img2img"):
        body = document["paths"][f"/sdapi/v1/{path}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        properties = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"]
        assert len(properties) > 40
        values = {name: NAMED.get(name, TYPED[told["type"]]) | ODD for name, told in properties.items()}
        found[path] = some_of(values)
    return found


@pytest.mark.parametrize("path", ["txt2img", "img2img"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_body_gets_pictures_or_a_typed_error(
    door: Served, bodies: dict[str, st.SearchStrategy[dict[str, Any]]], path: str, data: st.DataObject
) -> None:
    small = {"width": 64, "height": 64, "steps": 1, **({"init_images": [PICTURE]} if path == "img2img" else {})}
    body = {**small, **data.draw(bodies[path])}
    answer = door.post(f"/sdapi/v1/{path}", body)
    told = answer.json()
    if answer.status_code == 200:
        assert isinstance(told["parameters"], dict)
        assert json.loads(told["info"])["all_seeds"]
        return
    assert answer.status_code in {404, 422}, told
    assert isinstance(told["detail"], str)
    assert told["detail"]
    assert told["fault"] == "client"
    assert not {"images", "info"} & told.keys()
    assert all(problem["message"] for problem in told["problems"])
