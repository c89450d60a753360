"""A job's model files while it runs: held, read ahead, and fetched anew when the WebUI finds one corrupt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.models.local_disk.readahead import Warmer
from worker.recovery.policy import switch_failed
from worker.stages import prepare

if TYPE_CHECKING:
    from worker.errors import WorkerError
    from worker.models.local_disk.copies import Staging
    from worker.models.store import ModelStore
    from worker.stages.hands import Hands
    from worker.stages.prepare import Prepared
    from worker.stages.run import Run


class ModelFiles:
    """The files behind the jobs of one worker.

    Args:
        store: Where they are.
        hands: What the service lends.
        ahead: Whether checkpoints are read into memory before the WebUI loads them.
        staging: Their copies on a local disk; None: there are none.
    """

    def __init__(self, store: ModelStore, hands: Hands, *, ahead: bool, staging: Staging | None = None) -> None:
        self._store = store
        self._staging = staging
        self._hands = hands
        self._warmer = Warmer() if ahead else None

    def hold(self, prepared: Prepared, run: Run, *, loaded: str) -> None:
        """Keep the files from being removed until the job ends, its checkpoint also after it: it stays loaded.

        A checkpoint that is not loaded is read ahead, or copied to the local disk.
        """
        run.holds.enter_context(self._store.holding(prepared.models))
        checkpoints = [model for model in prepared.models if model.kind == "checkpoint"]
        if checkpoints:
            self._store.keep_loaded(checkpoints)
        others = [model for model in checkpoints if model.name != loaded]
        if self._staging is not None:
            for model in checkpoints:
                self._staging.use(model.path)
        elif others and self._warmer is not None:
            self._warmer.want(others[0].path)

    async def mend(self, prepared: Prepared, run: Run, error: WorkerError) -> None:
        """Fetch the job's corrupt files anew, when the WebUI could not read one."""
        if not switch_failed(error):
            return
        if self._staging is not None:
            for model in prepared.models:
                if model.kind == "checkpoint":
                    self._staging.doubt(model.path)
        corrupt = await self._hands.thread(self._store.quarantine.put_corrupt, prepared.models)
        if corrupt:
            again = self._store.prepare(prepared.wanted, on_progress=prepare.fetching(run.on_progress))
            await self._hands.before(run.deadline, again)
