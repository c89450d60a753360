"""What a chaos run does, by its seed: the jobs, and what goes wrong before which of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

MODELS = ("Deliberate_v6", "Other_v1")
LORAS = ("add_detail", "style_two")
HARMLESS = {"steps": 6, "width": 64, "height": 64}

WEBUI_FAULTS: tuple[dict[str, Any], ...] = (
    {"fault": "die", "step": 2},
    {"fault": "hang", "step": 2},
    {"fault": "slow-step", "seconds": 0.1},
    {"fault": "oom"},
    {"fault": "oom", "count": 2},
    {"fault": "load-oom"},
    {"fault": "starved-lora"},
    {"fault": "cuda-error"},
    {"fault": "nan"},
    {"fault": "black"},
    {"fault": "wrong-size"},
    {"fault": "wrong-seed"},
    {"fault": "missing-picture"},
    {"fault": "wrong-model", "name": "Other"},
    {"fault": "wrong-sampler"},
    {"fault": "wrong-clip-skip"},
    {"fault": "wrong-vae"},
    {"fault": "truncated-picture"},
    {"fault": "broken-base64"},
    {"fault": "cut-body", "path": "txt2img"},
    {"fault": "drop-before", "path": "txt2img"},
    {"fault": "drop-after", "path": "txt2img"},
    {"fault": "not-json", "path": "txt2img"},
    {"fault": "empty", "path": "txt2img"},
    {"fault": "late", "path": "txt2img", "seconds": 0.5},
    {"fault": "slow-body", "path": "txt2img", "seconds": 0.5},
    {"fault": "error", "error": "RuntimeError", "message": "a tensor has the wrong shape"},
    {"fault": "memory-growth", "mb": 5},
)
WORLD_FAULTS = (
    "kill-webui",
    "stop-webui",
    "kill-worker",
    "end-worker",
    "lose-result",
    "cut-result",
    "break-platform",
    "cancel",
    "remove-model",
    "break-store",
    "deny-store",
)
INVALID: tuple[dict[str, Any], ...] = (
    {"prompt": "a cat", "steps": "many"},
    {"prompt": "a cat", "sampler_name": "DPM++ 2N"},
    {"prompt": "a cat", "loras": ["nobody"]},
    {"prompt": "\ud800"},
    {"width": 64},
    {"prompt": "a cat", "loras": [f"l{number}" for number in range(100_000)]},
)


@dataclass(frozen=True, slots=True)
class Job:
    """One job and what it should come to.

    Attributes:
        valid: It deserves a picture; else a typed error.
        stored: Its pictures go to the store.
        fault: What is done before it is offered; None: nothing.
        worker: To which worker, as a number that is taken modulo those that live.
    """

    id: str
    input: dict[str, Any]
    valid: bool = True
    stored: bool = False
    fault: dict[str, Any] | str | None = None
    worker: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


def plan(seed: int, jobs: int, *, faults: float) -> list[Job]:
    """Return the jobs of a run.

    Args:
        seed: The same seed gives the same plan.
        jobs: How many.
        faults: Share of jobs before which something goes wrong.
    """
    random = Random(seed)
    # Every kind of fault comes once before any comes twice.
    bag: list[dict[str, Any] | str] = []
    made = []
    for number in range(jobs):
        fault: dict[str, Any] | str | None = None
        if random.random() < faults:
            if not bag:
                bag = [*WEBUI_FAULTS, *WORLD_FAULTS]
                random.shuffle(bag)
            fault = bag.pop()
        made.append(_job(random, f"chaos-{seed}-{number}", fault))
    return made


def _job(random: Random, name: str, fault: dict[str, Any] | str | None) -> Job:
    worker = random.randrange(1000)
    if random.random() < 0.05:
        return Job(name, random.choice(INVALID), valid=False, fault=fault, worker=worker)
    asked: dict[str, Any] = {
        **HARMLESS,
        "prompt": f"a {random.choice(('cat', 'dog', '(house:1.3)', 'boat'))}, {name}",
        "seed": random.randrange(1000),
        "checkpoint": random.choice(MODELS),
    }
    kind = random.randrange(6)
    if kind == 1:
        asked["batch_size"] = random.choice((2, 4))
    elif kind == 2:
        asked["n_iter"] = 2
    elif kind == 3:
        asked["loras"] = [{"name": random.choice(LORAS), "scale": 0.8}]
    elif kind == 4:
        asked.update(enable_hr=True, hr_scale=1.5, hr_upscaler="Latent", denoising_strength=0.5)
    elif kind == 5:
        asked.update(sampler_name="Euler a", clip_skip=2)
    stored = random.random() < 0.3
    if fault == "cancel":
        asked["steps"] = 60
    return Job(
        name, {**asked, "output": {"delivery": "s3" if stored else "base64"}}, stored=stored, fault=fault, worker=worker
    )


def reference(job: Job) -> dict[str, Any]:
    """Return the WebUI's own request for a job, written by hand: the referee asks a WebUI that nothing happens to."""
    asked = {
        name: value for name, value in job.input.items() if name not in {"output", "checkpoint", "loras", "clip_skip"}
    }
    for lora in job.input.get("loras", ()):
        asked["prompt"] += f" <lora:{lora['name']}:{lora['scale']}>"
    asked["override_settings"] = {"sd_model_checkpoint": job.input["checkpoint"]}
    asked["override_settings"]["CLIP_stop_at_last_layers"] = job.input.get("clip_skip", 1)
    return asked
