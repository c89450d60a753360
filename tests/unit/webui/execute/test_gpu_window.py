from __future__ import annotations

import asyncio

from worker.webui.execute.stall import GpuWindow

BEGAN = "2026-01-01 00:00:00 INFO [modules.shared_state] Starting job scripts_txt2img"
ENDED = "2026-01-01 00:00:01 INFO [modules.shared_state] Ending job scripts_txt2img (1.00 seconds)"


class Reading:
    def __init__(self) -> None:
        self.freed = 0
        self.lines = 0
        self.window = GpuWindow(lambda tell: tell(), self._free)

    def _free(self) -> None:
        self.freed += 1

    def read(self, *lines: str) -> None:
        for line in lines:
            self.lines += 1
            self.window.read(line, lambda: self.lines)


def test_the_gpu_is_free_where_the_log_says_that_the_job_ended() -> None:
    reading = Reading()
    reading.read(BEGAN, "100%|####|")
    assert (reading.freed, reading.window.end) == (0, None)
    reading.read(ENDED)
    assert (reading.freed, reading.window.end) == (1, 3)
    reading.read(BEGAN, ENDED)
    assert (reading.freed, reading.window.end) == (1, 3)


def test_the_end_of_a_job_before_does_not_count() -> None:
    reading = Reading()
    reading.read(ENDED, BEGAN)
    assert reading.freed == 0


def test_an_upscale_inside_a_job_is_not_its_end() -> None:
    reading = Reading()
    reading.read(BEGAN, BEGAN.replace("scripts_txt2img", "extras"), ENDED.replace("scripts_txt2img", "extras"))
    assert reading.freed == 0


def test_a_gpu_that_is_kept_is_not_given_away() -> None:
    reading = Reading()
    reading.read(BEGAN)
    assert reading.window.keep()
    reading.read(ENDED)
    assert reading.freed == 0


def test_a_gpu_that_was_given_away_can_not_be_kept() -> None:
    reading = Reading()
    reading.read(BEGAN, ENDED)
    assert not reading.window.keep()


def test_a_loop_that_is_closed_by_then_is_not_told() -> None:
    loop, told = asyncio.new_event_loop(), []
    window = GpuWindow.of_loop(loop, lambda: told.append("free"))
    loop.close()
    window.read(BEGAN, lambda: 1)
    window.read(ENDED, lambda: 2)
    assert (window.end, told) == (2, [])
