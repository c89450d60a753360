"""The parts that answer jobs, put together; imported while the WebUI boots."""

from __future__ import annotations

from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING

from worker.contract.base.limits import Limits
from worker.delivery.deliver import Delivery
from worker.jobs.cache.cache_storage import cache_storage
from worker.jobs.cache.result_cache import ResultCache
from worker.jobs.cache.result_leases import ResultLeases
from worker.jobs.cache.settled_request import RequestDigest
from worker.jobs.generation import ImageGeneration
from worker.jobs.inputs import InputLoader
from worker.jobs.job_context import JobThreads
from worker.jobs.job_services import JobServices
from worker.jobs.model_files import ModelFiles
from worker.jobs.operator_config import load_operator_config
from worker.jobs.picture_source import PictureSource
from worker.jobs.prepare.model_preparation import ModelPreparation
from worker.jobs.result_delivery import ResultDelivery
from worker.judges.judge_catalog import JudgeCatalog
from worker.net.addresses import AllowList
from worker.net.guard import Guard
from worker.recovery.job_lifecycle import JobLifecycle
from worker.recovery.kept_results import KeptResults
from worker.recovery.retry import Executor
from worker.service import Service
from worker.storage.target import from_settings, key_template

if TYPE_CHECKING:
    from worker.models.local_disk.copies import Staging
    from worker.models.store import ModelStore
    from worker.recovery.supervisor import Supervisor
    from worker.settings import Settings
    from worker.telemetry.observer import JobObserver
    from worker.webui.backend import Backend


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts that the worker calls itself.

    Attributes:
        service: Answers one job.
        jobs: Surrounds it with kept answers and the grace after SIGTERM.
        pictures: Fetches what jobs point at; ended with the worker.
        cache: Kept pictures, and figures on their use.
    """

    service: Service
    jobs: JobLifecycle
    pictures: PictureSource
    cache: ResultCache


def assemble(
    settings: Settings,
    *,
    backend: Backend,
    supervisor: Supervisor,
    store: ModelStore,
    staging: Staging | None,
    watch: JobObserver,
) -> Assembly:
    """Return the parts of one worker. Blocking: makes the operator's store client."""
    threads = JobThreads()
    guard, target = Guard(AllowList.of(settings.allowed_hosts)), from_settings(settings)
    delivery = Delivery(
        guard,
        store=target,
        wish=settings.delivery,
        limit=settings.max_output_bytes,
        template=key_template(settings),
    )
    delivery.warm()
    source = PictureSource(guard, delivery.clients, store=target, fetch_s=settings.fetch_timeout_s)
    inputs = InputLoader(source, threads, max_pixels=settings.max_input_pixels)
    operator = load_operator_config(settings)
    executor = Executor(backend, supervisor, settings)
    kept = KeptResults(settings.results_root, settings.result_retention_s)
    cache = ResultCache(
        cache_storage(settings, delivery.clients),
        ResultLeases(settings.result_cache_root / "leases", threads, live_s=settings.model_lease_s),
        executor.gpu,
        threads,
        age_s=settings.result_cache_age_s,
        most_bytes=settings.result_cache_bytes,
    )
    digest = RequestDigest(settings, backend, store)
    generation = ImageGeneration(
        settings,
        backend=backend,
        executor=executor,
        store=store,
        inputs=inputs,
        operator=operator,
        models=ModelPreparation(backend, store, threads),
        files=ModelFiles(store, threads, ahead=settings.model_readahead, staging=staging),
        cache=cache,
        digest=digest,
        threads=threads,
    )
    services = JobServices(
        backend=backend,
        supervisor=supervisor,
        executor=executor,
        store=store,
        generation=generation,
        inputs=inputs,
        delivery=ResultDelivery(delivery, kept, threads),
        operator=operator,
        judges=JudgeCatalog(settings),
        threads=threads,
        limits=Limits(max_pixels=settings.batch_pixels, max_images=settings.max_images),
        unknown_fields=settings.unknown_fields,
        random=SystemRandom(),
        cache=cache,
        digest=digest,
        kept=kept,
        shares_gpu=settings.workflow_shares_gpu,
    )
    service = Service(settings, services, watch)
    jobs = JobLifecycle(service.run, kept, grace_s=settings.stop_grace_s)
    return Assembly(service, jobs, source, cache)
