"""Advice for clients on each error, for the page on errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.errors import all_errors

if TYPE_CHECKING:
    from worker.errors import WorkerError


ADVICE: dict[str, str] = {
    "cancelled": "Nothing: it was asked for.",
    "download_refused": (
        "Send a `token` that may read the model, accept its terms at its source, or give the address of the file."
    ),
    "hash_mismatch": (
        "Correct the hash. A name that stands for another file already needs another `name`; `details` has both."
    ),
    "incompatible_model": (
        "Take a model made for this checkpoint, `details.fitting` names those that are there, or another checkpoint."
    ),
    "invalid_input": "Correct the fields that `details.problems` names. The same again gets the same answer.",
    "model_not_found": (
        'Take the suggested name, or one that `{"type": "checkpoints"}` (`"loras"`, …) lists, or give an address.'
    ),
    "out_of_memory": (
        "Ask for fewer pixels, a smaller batch or less hires. `details.would_fit` says what is known or likely to fit."
    ),
    "output_too_large": "Send `output.allow_smaller` or a smaller format, ask for fewer pictures, or use a store.",
    "image_refused": "Change the prompt. `details.checks` says what was seen; another seed may make another picture.",
    "webui_rejected": "Read the WebUI's words in `details.upstream`: a value that only it can judge.",
    "delivery_failed": (
        "Send it again where `details.retry_helps`, else correct keys, bucket or address of the store first."
    ),
    "download_failed": "Send it again later, after `details.retry_after_s` where that is told.",
    "deadline_exceeded": (
        "Ask for less, or allow more time (`timeout_s`, `JOB_TIMEOUT_S`, the endpoint's execution timeout). Where it "
        "only waited, more workers help."
    ),
    "generation_stalled": "Send it again: the WebUI has been stopped or restarted.",
    "image_check_failed": (
        "Send it again; where it stays, the operator looks at the check's model and the worker's log."
    ),
    "internal_error": "Send it again once, then report it with the job's id.",
    "model_damaged": "The operator removes the file, or puts a whole one in its place.",
    "nan_image": "Send it with another `vae`. The operator can set `WEBUI_ARGS=--no-half`, at twice the memory.",
    "no_space": "The operator removes or unpins models, or lets the volume grow.",
    "settings_invalid": "The operator corrects the variable. No job sees this: the worker does not start.",
    "volume_unavailable": (
        "Send it again: another worker may reach its volume. Where it stays, the operator looks after the volume and "
        "ends this worker."
    ),
    "webui_boot_failed": (
        "The operator reads the WebUI's last lines in `log`. No job sees this: the worker ends before it takes one."
    ),
    "webui_crashed": (
        "Send it again. A job that does it twice is refused for `POISON_S`: make it smaller, verify its models."
    ),
    "webui_error": "Send it again once. If it stays, `details` has the WebUI's words on job or model.",
    "webui_unreachable": "Send it again: a WebUI that the worker started is restarted.",
    "worker_stopping": "Send it again at once: another worker takes it.",
    "wrong_result": (
        'Send it again. If it stays, the message says what differs; `on_mismatch: "warn"` takes the pictures anyway.'
    ),
}
"""By code; a test holds that every code is here."""


def tables() -> dict[str, str]:
    """Return the generated part of each code's section, by the table's name ``error_CODE``."""
    return {f"error_{error.code}": _facts(error, ADVICE[error.code]) for error in all_errors()}


def _facts(error: type[WorkerError], advice: str) -> str:
    again = "yes" if error.retryable else "no"
    facts = f"- fault: {error.fault} · retryable: {again} · like HTTP {error.http_status}"
    return f"{error.about}\n\n{facts}\n- what to do: {advice}"
