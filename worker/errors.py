"""Every error a job or a start can end with.

    WorkerError
    ├── ClientError (fault: client — the job as sent can't succeed; nothing is restarted)
    │   ├── InvalidInput          invalid_input
    │   ├── ModelNotFound         model_not_found
    │   ├── IncompatibleModel     incompatible_model
    │   ├── DownloadRefused       download_refused
    │   ├── HashMismatch          hash_mismatch
    │   ├── OutputTooLarge        output_too_large
    │   ├── OutOfMemory           out_of_memory
    │   ├── ImageRefused          image_refused
    │   ├── NotCached             not_cached
    │   ├── TooFewAccepted        too_few_accepted
    │   ├── WebUIRejected         webui_rejected
    │   └── Cancelled             cancelled
    ├── WorkerFault (fault: worker — this worker failed; the same job may succeed elsewhere)
    │   ├── SettingsInvalid       settings_invalid
    │   ├── BootFailed            webui_boot_failed
    │   ├── WebUICrashed          webui_crashed
    │   ├── WebUIUnreachable      webui_unreachable
    │   ├── WebUIFailed           webui_error
    │   ├── GenerationStalled     generation_stalled
    │   ├── DeadlineExceeded      deadline_exceeded
    │   ├── WrongResult           wrong_result
    │   ├── NanImage              nan_image
    │   ├── ImageCheckFailed      image_check_failed
    │   ├── ModelDamaged          model_damaged
    │   ├── NoSpace               no_space
    │   ├── WorkerStopping        worker_stopping
    │   └── InternalError         internal_error
    └── PlatformFault (fault: platform — something outside the worker failed)
        ├── VolumeUnavailable     volume_unavailable
        ├── DownloadFailed        download_failed
        └── DeliveryFailed        delivery_failed

An error is raised where the fact is known. `to_answer` is called once, at the boundary (`worker/service.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

MOST_PROBLEMS = 100
"""Problems that one error lists; one more counts the rest."""

Fault = Literal["client", "worker", "platform"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a job.

    Attributes:
        path: Where, as the client wrote it: ``loras[1].scale``; empty for the job as a whole.
        message: What was wrong and what would be right.
        suggestion: The value or field name that was probably meant, when one is near.
    """

    path: str
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        hint = f" (did you mean {self.suggestion!r}?)" if self.suggestion else ""
        return f"{self.path}: {self.message}{hint}" if self.path else f"{self.message}{hint}"

    def moved(self, path: str) -> Problem:
        """Return the same mistake at another place."""
        return Problem(path, self.message, self.suggestion)

    def to_json(self) -> dict[str, Any]:
        """Return ``{path, message, suggestion?}``."""
        answer: dict[str, Any] = {"path": self.path, "message": self.message}
        if self.suggestion is not None:
            answer["suggestion"] = self.suggestion
        return answer


class WorkerError(Exception):
    """Base of all errors of this package.

    Args:
        message: One sentence for the person who reads the answer; never a secret, never a traceback.
        hint: What to do about it.
        details: More facts, strict JSON.
    """

    code: ClassVar[str] = "worker_error"
    fault: ClassVar[Fault] = "worker"
    retryable: ClassVar[bool] = False
    http_status: ClassVar[int] = 500
    """Status that says the same, for HTTP APIs in front of a worker."""
    about: ClassVar[str] = ""
    """One line for the table of errors in the docs."""

    def __init__(self, message: str, *, hint: str | None = None, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})

    def to_answer(self) -> dict[str, Any]:
        """Return the job's answer: ``{error, error_code, fault, retryable, details}``, `error` being a string."""
        details = dict(self.details)
        if self.hint:
            details["hint"] = self.hint
        return {
            "error": f"{self.code}: {self.message}",
            "error_code": self.code,
            "fault": self.fault,
            "retryable": self.retryable,
            "details": details,
        }


class ClientError(WorkerError):
    """The job as it was sent can't succeed."""

    code = "client_error"
    fault = "client"
    http_status = 400


class WorkerFault(WorkerError):
    """This worker failed."""

    code = "worker_fault"
    fault = "worker"
    retryable = True


class PlatformFault(WorkerError):
    """Something outside the worker failed."""

    code = "platform_fault"
    fault = "platform"
    http_status = 502
    retryable = True


class InvalidInput(ClientError):
    """One or more mistakes in the job; `details.problems` lists all of them.

    `partial` is the job without the fields that are wrong, for whoever can look for more mistakes in the rest; it is no
    part of an answer.
    """

    code = "invalid_input"
    about = "The job has mistakes; `details.problems` names each field, what is wrong and what would be right."

    def __init__(self, problems: list[Problem], *, hint: str | None = None, partial: object = None) -> None:
        if len(problems) > MOST_PROBLEMS + 1:
            more = Problem("", f"has {len(problems) - MOST_PROBLEMS} mistakes more")
            problems = [*problems[:MOST_PROBLEMS], more]
        self.problems = problems
        self.partial = partial
        super().__init__(
            "; ".join(str(problem) for problem in problems),
            hint=hint,
            details={"problems": [problem.to_json() for problem in problems]},
        )

    @classmethod
    def at(cls, path: str, message: str, suggestion: str | None = None) -> InvalidInput:
        """Return the error for a single mistake."""
        return cls([Problem(path, message, suggestion)])


class ModelNotFound(ClientError):
    code = "model_not_found"
    http_status = 404
    about = "A model that the job names is neither on the volume nor known to the catalog."


class IncompatibleModel(ClientError):
    code = "incompatible_model"
    http_status = 422
    about = "A model does not fit the checkpoint, for example an SDXL LoRA with an SD 1.5 checkpoint."


class DownloadRefused(ClientError):
    code = "download_refused"
    http_status = 403
    about = "A model can't be fetched from where the job says: access denied, a forbidden address, or no model file."


class HashMismatch(ClientError):
    code = "hash_mismatch"
    http_status = 409
    about = "A model's bytes are not those that the job or the catalog expects; the file was not kept."


class OutputTooLarge(ClientError):
    code = "output_too_large"
    http_status = 413
    about = "The pictures exceed what the platform carries inline and no store is configured; says what would fit."


class OutOfMemory(ClientError):
    code = "out_of_memory"
    http_status = 413
    about = "The GPU's memory does not hold this job; ask for fewer or smaller pictures."


class ImageRefused(ClientError):
    code = "image_refused"
    http_status = 451
    about = "The endpoint's image check lets none of the pictures pass."


class NotCached(ClientError):
    code = "not_cached"
    about = "The job takes its pictures from the result cache only, and they are not there."


class TooFewAccepted(ClientError):
    code = "too_few_accepted"
    about = "The judges accepted fewer pictures than the job asks for with `on_too_few: error`."


class WebUIRejected(ClientError):
    code = "webui_rejected"
    http_status = 422
    about = "The WebUI refused the job (HTTP 4xx); `details` carries its words."


class Cancelled(ClientError):
    code = "cancelled"
    http_status = 499
    about = "The client cancelled the job."


class SettingsInvalid(WorkerFault):
    code = "settings_invalid"
    retryable = False
    about = "An environment variable has a bad value; the worker does not start."


class BootFailed(WorkerFault):
    code = "webui_boot_failed"
    http_status = 503
    about = "The WebUI did not start or did not load the model that was asked for; the worker exits."


class WebUICrashed(WorkerFault):
    code = "webui_crashed"
    http_status = 502
    about = "The WebUI process ended during the job."


class WebUIUnreachable(WorkerFault):
    code = "webui_unreachable"
    http_status = 502
    about = "The WebUI did not answer on its port."


class WebUIFailed(WorkerFault):
    code = "webui_error"
    http_status = 502
    about = "The WebUI answered with an error of its own (HTTP 5xx); `details` carries its words."


class GenerationStalled(WorkerFault):
    code = "generation_stalled"
    http_status = 504
    about = "The WebUI made no progress for the stall limit."


class DeadlineExceeded(WorkerFault):
    code = "deadline_exceeded"
    http_status = 504
    about = "The job ran longer than its deadline and was interrupted."


class WrongResult(WorkerFault):
    code = "wrong_result"
    http_status = 502
    about = "The WebUI answered with something other than what was asked for; the pictures were not delivered."


class NanImage(WorkerFault):
    code = "nan_image"
    about = "The model produced NaNs (a black picture); usually a VAE that needs full precision."


class ImageCheckFailed(WorkerFault):
    code = "image_check_failed"
    about = "The endpoint's image check did not work, so the pictures were not delivered."


class ModelDamaged(WorkerFault):
    code = "model_damaged"
    retryable = False
    about = (
        "A model's file is cut short, no model or refused by the WebUI, and nobody knows where to fetch it from anew."
    )


class NoSpace(WorkerFault):
    code = "no_space"
    http_status = 507
    about = "The volume has no room for a model that has to be fetched, and nothing that may be removed."


class WorkerStopping(WorkerFault):
    code = "worker_stopping"
    http_status = 503
    about = "The worker was told to stop and the job was not done within its grace; send it again."


class InternalError(WorkerFault):
    code = "internal_error"
    about = "A defect in the worker; the log has the traceback under the job's id."


class VolumeUnavailable(PlatformFault):
    code = "volume_unavailable"
    http_status = 503
    about = "The folder of a model is gone or can't be read, though it was there: the volume was lost, or its server."


class DownloadFailed(PlatformFault):
    code = "download_failed"
    about = "A model's source did not deliver it: unreachable, too slow, broken off, busy."


class DeliveryFailed(PlatformFault):
    code = "delivery_failed"
    about = "The pictures were made but could not be stored."


def all_errors() -> list[type[WorkerError]]:
    """Return every concrete error class, sorted by fault and code (for the docs and the schema)."""
    found: list[type[WorkerError]] = []
    pending: list[type[WorkerError]] = [WorkerError]
    while pending:
        for child in pending.pop().__subclasses__():
            pending.append(child)
            if child.about:
                found.append(child)
    return sorted(found, key=lambda error: (error.fault, error.code))
