from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.documents.clients import served_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.documents.clients import Served

PRESETS = """
quality-high:
  defaults: {steps: 7}
dall-e-3:
  about: Stands in for OpenAI's model of this name.
  defaults: {steps: 3, width: 128, height: 64}
"""


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("openai")
    presets = folder / "presets.yaml"
    presets.write_text(PRESETS, encoding="utf-8")
    with served_worker(folder, {"PRESETS_FILE": str(presets), "LIVE_PREVIEWS": "full"}) as running:
        yield running
