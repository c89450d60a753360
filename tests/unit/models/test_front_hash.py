"""The beginning of a file that is being fetched: hashed as it comes, looked at until it can be judged."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from worker.models.volume.integrity import FrontHash

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = bytes(range(256)) * 12 * 1024  # three blocks of what is hashed at once


def test_a_beginning_is_hashed_once_and_looked_at_until_there_is_enough_of_it(tmp_path: Path) -> None:
    seen: list[int] = []

    def check(_: int, front: int, __: int | None) -> bool:
        seen.append(front)
        return front >= 1000

    path = tmp_path / "model"
    path.write_bytes(CONTENT)
    front = FrontHash(check)
    with path.open("rb") as file:
        front.advance(file.fileno(), 0, None)
        assert (seen, front.done) == ([], 0), "nothing is there to be looked at"
        for there in (10, 2000, 3000, *[len(CONTENT)] * 4):
            front.advance(file.fileno(), there, None)
            assert front.done <= there
    assert seen == [10, 2000]
    assert (front.done, front.hexdigest()) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    front.reset()
    assert (front.done, front.hexdigest()) == (0, hashlib.sha256().hexdigest())
