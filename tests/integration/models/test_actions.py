from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import safetensors as make
from tests.support.loopback_http import serve
from tests.support.model_store import ranged, store
from worker.contract.parse.job_parser import parse_job
from worker.errors import InvalidInput, ModelNotFound
from worker.models.admin import perform
from worker.models.sources.model_catalog import read_catalog

if TYPE_CHECKING:
    from pathlib import Path

    from worker.models.store import ModelStore

BODY = make.safetensors(make.SDXL_LORA)


def _perform(where: ModelStore, raw: dict[str, Any]) -> dict[str, Any]:
    job: Any = parse_job(raw)
    return asyncio.run(perform(where, job))


def test_models_are_fetched_listed_and_removed_by_jobs(tmp_path: Path) -> None:
    with serve(lambda request: ranged(request, BODY)) as server:
        where = store(tmp_path, server.url, catalog=read_catalog(), MODEL_REMOVE="true")
        models = [{"url": f"{server.url}/x.safetensors", "name": "mine", "kind": "lora"}]
        fetched = _perform(where, {"action": "models.prefetch", "models": models})
        assert (fetched["models"][0]["name"], fetched["models"][0]["fetched"]) == ("mine", True)
        assert not _perform(where, {"action": "models.prefetch", "models": models})["models"][0]["fetched"]
        answer = _perform(where, {"action": "models.list"})
        assert [each["name"] for each in answer["models"]] == ["mine"]
        assert answer["summary"]["bytes"] == len(BODY)
        assert len(answer["catalog"]) == 33
        assert str(tmp_path) not in json.dumps(answer)
        gone = _perform(where, {"action": "models.remove", "models": ["mine"]})
        assert gone == {"removed": ["lora/mine.safetensors"], "freed_bytes": len(BODY)}
        assert _perform(where, {"action": "models.list", "what": ["lora"]})["models"] == []
        where.close()


def test_removal_needs_the_operators_leave(tmp_path: Path) -> None:
    make.write(tmp_path / "loras/mine.safetensors", make.SDXL_LORA)
    where = store(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(InvalidInput, match="MODEL_REMOVE"):
        _perform(where, {"action": "models.remove", "models": ["mine"]})
    assert where.find(*_ref("mine")) is not None
    where.close()


def test_a_model_in_use_is_not_removed_and_an_unknown_one_removes_nothing(tmp_path: Path) -> None:
    make.write(tmp_path / "loras/mine.safetensors", make.SDXL_LORA)
    where = store(tmp_path, "http://127.0.0.1:9", MODEL_REMOVE="true")
    model = where.find(*_ref("mine"))
    assert model is not None
    with where.holding([model]), pytest.raises(InvalidInput, match="in use"):
        _perform(where, {"action": "models.remove", "models": ["mine"]})
    with pytest.raises(ModelNotFound):
        _perform(where, {"action": "models.remove", "models": ["mine", "other"]})
    assert model.path.exists()
    where.close()


def test_a_model_without_a_kind_has_to_say_it(tmp_path: Path) -> None:
    where = store(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(InvalidInput, match=r"models\[0\]\.kind"):
        _perform(where, {"action": "models.prefetch", "models": ["https://example.com/x"]})
    where.close()


def _ref(name: str) -> Any:
    from worker.contract.types.model_ref import ModelRef

    return ModelRef(name=name), "lora"
