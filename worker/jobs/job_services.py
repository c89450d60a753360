"""The parts of the worker that answer jobs, handed to every kind of job."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.contract.expand.prompts import draws_loras, expand
from worker.contract.parse.job_parser import cells_of
from worker.jobs.prepare.resolved_models import lora_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from worker.contract.base.limits import Limits
    from worker.contract.expand.prompts import Piece
    from worker.contract.types.job import Generation
    from worker.jobs.cache.result_cache import ResultCache
    from worker.jobs.cache.settled_request import RequestDigest
    from worker.jobs.generation import ImageGeneration
    from worker.jobs.inputs import InputLoader
    from worker.jobs.job_context import JobContext, JobThreads
    from worker.jobs.operator_config import OperatorConfig
    from worker.jobs.result_delivery import ResultDelivery
    from worker.judges.judge_catalog import JudgeCatalog
    from worker.models.store import ModelStore
    from worker.recovery.kept_results import KeptResults
    from worker.recovery.retry import Executor
    from worker.recovery.supervisor import Supervisor
    from worker.settings import UnknownFieldRule
    from worker.webui.backend import Backend

LARGEST_DRAWN_SEED = 2**32 - 1
"""Random seeds are drawn up to here; a client may name larger ones."""


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
        judges: Judges of pictures, for jobs that ask for them.
        threads: For everything that blocks.
        limits: On what a job may ask for.
        unknown_fields: What becomes of fields that nobody reads; see `accept`.
        random: For seeds that the client leaves open.
        cache: Results of earlier jobs.
        digest: Tells equal requests.
        kept: Parts of results that a repeat of their job need not make.
        shares_gpu: Whether other jobs may have the GPU between the stages of a workflow.
    """

    backend: Backend
    supervisor: Supervisor
    executor: Executor
    store: ModelStore
    generation: ImageGeneration
    inputs: InputLoader
    delivery: ResultDelivery
    operator: OperatorConfig
    judges: JudgeCatalog
    threads: JobThreads
    limits: Limits
    unknown_fields: UnknownFieldRule
    random: Random
    cache: ResultCache
    digest: RequestDigest
    kept: KeptResults
    shares_gpu: bool = False

    def limits_of(self, context: JobContext) -> Limits:
        """Return the limits of one job, which may make more pictures where they go into a store."""
        return replace(self.limits, max_images=context.max_images) if context.max_images else self.limits

    async def plain_jobs(self, job: Generation, *, split_batches: bool = False) -> list[Piece]:
        """Return the plain jobs of `job`, in order: one prompt and one seed each.

        The cells of a plot have one seed, which is drawn once where the job has none. How many pictures they make was
        judged when the job was accepted.

        Args:
            job: Any generation.
            split_batches: One plain job per batch, so that each can be delivered as it is made.

        Raises:
            InvalidInput: see `expand`.
        """
        if job.plot is None:
            return await self._expand(job, split_batches=split_batches)
        first = job if job.seed is not None and job.seed >= 0 else job.changed({"seed": self._random_seed()})
        pieces: list[Piece] = []
        for cell in cells_of(first, replace(self.limits, max_images=sys.maxsize)):
            pieces += (
                replace(piece, path=".".join(filter(None, (cell.path, piece.path))), cell=cell)
                for piece in await self._expand(cell.job, split_batches=split_batches)
            )
        return pieces

    def _random_seed(self) -> int:
        return self.random.randint(0, LARGEST_DRAWN_SEED)

    async def _expand(self, job: Generation, *, split_batches: bool) -> list[Piece]:
        files: Sequence[str] = ()
        if draws_loras(job):
            files = await self.threads.run(lora_files, self.store.volume, self.backend.catalog)
        return expand(
            job,
            draw=self._random_seed,
            lists=self.operator.wildcards,
            lora_files=files,
            max_pixels=self.limits.max_pixels,
            split_batches=split_batches,
        )
