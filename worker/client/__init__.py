"""A typed client for this worker, on RunPod or behind its own HTTP mode.

from worker.client import Endpoint

endpoint = Endpoint("abc123", api_key="…")            # or Endpoint("http://127.0.0.1:8000")
answer = endpoint.runsync({"prompt": "a cat"})
answer.save("out")
"""

from worker.client.aio import AsyncEndpoint, AsyncJob
from worker.client.endpoint import Endpoint, EndpointJob
from worker.client.hooks import read_webhook
from worker.client.job_state import Answer, EndpointError, JobCancelled, JobFailed, JobState, JobTimedOut, ResultPicture
from worker.serving.webhook_signature import BadSignature

__all__ = [
    "Answer",
    "AsyncEndpoint",
    "AsyncJob",
    "BadSignature",
    "Endpoint",
    "EndpointError",
    "EndpointJob",
    "JobCancelled",
    "JobFailed",
    "JobState",
    "JobTimedOut",
    "ResultPicture",
    "read_webhook",
]
