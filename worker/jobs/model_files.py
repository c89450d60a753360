"""Model files of a job while it runs: held, read ahead, and fetched anew when the WebUI could not load one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.common.cancellation import shielded
from worker.jobs.job_context import download_progress
from worker.models.local_disk.readahead import Warmer
from worker.recovery.failure_kinds import FailureKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.jobs.job_context import JobContext, JobThreads
    from worker.jobs.prepare.resolved_models import ResolvedModel
    from worker.models.local_disk.copies import Staging
    from worker.models.store import ModelStore
    from worker.models.volume.model import LocalModel
    from worker.recovery.failure_kinds import Failure


class ModelFiles:
    """The files behind the jobs of one worker.

    Args:
        store: The model files.
        threads: For everything that looks at the volume.
        ahead: Whether checkpoints are read into memory before the WebUI loads them.
        staging: Copies of checkpoints on a local disk; None: there are none.
    """

    def __init__(self, store: ModelStore, threads: JobThreads, *, ahead: bool, staging: Staging | None = None) -> None:
        self._store = store
        self._staging = staging
        self._threads = threads
        self._warmer = Warmer() if ahead else None

    async def hold(self, models: Sequence[ResolvedModel], context: JobContext, *, loaded: str) -> None:
        """Keep the files from being removed until the job ends, its checkpoint also after it: it stays loaded.

        A checkpoint that is not loaded is read ahead, or copied to the local disk.
        """
        files = [model.file for model in models if model.file is not None]
        if files:  # shielded: a cancel must not leave a hold behind
            await shielded(self._threads.run(self._hold, files, context, loaded))

    async def refetch(self, models: Sequence[ResolvedModel], context: JobContext, failure: Failure) -> None:
        """Fetch the job's corrupt files anew, when the WebUI could not load its checkpoint."""
        if failure.kind is not FailureKind.CHECKPOINT_LOAD:
            return
        if await self._threads.run(self._set_aside, models):
            wanted = [model.wanted for model in models]
            again = self._store.prepare(wanted, on_progress=download_progress(context.on_progress))
            await context.before_deadline(again)

    def _hold(self, files: Sequence[LocalModel], context: JobContext, loaded: str) -> None:
        context.holds.enter_context(self._store.holding(files))
        checkpoints = [file for file in files if file.kind == "checkpoint"]
        if checkpoints:
            self._store.keep_loaded(checkpoints)
        if self._staging is not None:
            for file in checkpoints:
                self._staging.use(file.path)
        elif self._warmer is not None and (others := [file for file in checkpoints if file.name != loaded]):
            self._warmer.want(others[0].path)

    def _set_aside(self, models: Sequence[ResolvedModel]) -> bool:
        """Put corrupt files into quarantine; return whether there were any."""
        files = [model.file for model in models if model.file is not None]
        if self._staging is not None:
            for file in files:
                if file.kind == "checkpoint":
                    self._staging.doubt(file.path)
        return bool(self._store.quarantine.put_corrupt(files))
