"""The parts of the worker that answer jobs, handed to every kind of job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.contract.expand.prompts import draws_loras, expand
from worker.jobs.prepare.resolved_models import lora_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from worker.contract.base.limits import Limits
    from worker.contract.expand.prompts import Piece
    from worker.contract.types.job import Generation
    from worker.jobs.generation import ImageGeneration
    from worker.jobs.inputs import InputLoader
    from worker.jobs.job_context import JobThreads
    from worker.jobs.operator_config import OperatorConfig
    from worker.jobs.result_delivery import ResultDelivery
    from worker.models.store import ModelStore
    from worker.recovery.retry import Executor
    from worker.recovery.supervisor import Supervisor
    from worker.settings import UnknownFieldRule
    from worker.webui.backend import Backend

LARGEST_SEED = 2**32 - 1
"""Random seeds are drawn up to here."""


@dataclass(frozen=True, slots=True)
class JobServices:
    """One for the worker's life.

    Attributes:
        backend: The WebUI, ready.
        supervisor: Of its process.
        executor: The way to the GPU.
        store: The model files.
        generation: Makes pictures by diffusion.
        inputs: Loads the client's own pictures.
        delivery: Delivers results.
        operator: The operator's presets, wildcards and rules.
        threads: For everything that blocks.
        limits: On what a job may ask for.
        unknown_fields: What becomes of fields that nobody reads; see `accept`.
        random: For seeds that the client leaves open.
    """

    backend: Backend
    supervisor: Supervisor
    executor: Executor
    store: ModelStore
    generation: ImageGeneration
    inputs: InputLoader
    delivery: ResultDelivery
    operator: OperatorConfig
    threads: JobThreads
    limits: Limits
    unknown_fields: UnknownFieldRule
    random: Random

    async def plain_jobs(self, job: Generation) -> list[Piece]:
        """Return the plain jobs of `job`, in order: one prompt and one seed each. Raises InvalidInput like `expand`."""
        files: Sequence[str] = ()
        if draws_loras(job):
            files = await self.threads.run(lora_files, self.store.volume, self.backend.catalog)
        return expand(
            job,
            draw=lambda: self.random.randint(0, LARGEST_SEED),
            lists=self.operator.wildcards,
            lora_files=files,
            max_pixels=self.limits.max_pixels,
        )
