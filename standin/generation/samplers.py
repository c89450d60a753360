"""Samplers and schedulers: what is listed and what a name is taken for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sampler:
    """One entry of `GET /sdapi/v1/samplers`."""

    name: str
    aliases: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()

    @property
    def scheduler(self) -> str | None:
        """The scheduler that Automatic means for this sampler, None for the plain one."""
        return dict(self.options).get("scheduler")

    def listed(self) -> dict[str, Any]:
        """The entry as JSON."""
        return {"name": self.name, "aliases": list(self.aliases), "options": dict(self.options)}


@dataclass(frozen=True, slots=True)
class Scheduler:
    """One entry of `GET /sdapi/v1/schedulers`."""

    name: str
    label: str
    aliases: tuple[str, ...] | None = None
    default_rho: float = -1.0
    need_inner_model: bool = False

    @property
    def spellings(self) -> tuple[str, ...]:
        """The endings of a sampler's name that mean this scheduler."""
        return (self.label, self.name, *(self.aliases or ()))

    def listed(self) -> dict[str, Any]:
        """The entry as JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "aliases": None if self.aliases is None else list(self.aliases),
            "default_rho": self.default_rho,
            "need_inner_model": self.need_inner_model,
        }


KARRAS = ("scheduler", "karras")
EXPONENTIAL = ("scheduler", "exponential")
SECOND_ORDER = ("second_order", "True")
BROWNIAN = ("brownian_noise", "True")
DISCARD = ("discard_next_to_last_sigma", "True")
ENSD = ("uses_ensd", "True")

SAMPLERS = (
    Sampler("DPM++ 2M", ("k_dpmpp_2m",), (KARRAS,)),
    Sampler("DPM++ SDE", ("k_dpmpp_sde",), (KARRAS, SECOND_ORDER, BROWNIAN)),
    Sampler("DPM++ 2M SDE", ("k_dpmpp_2m_sde",), (EXPONENTIAL, BROWNIAN)),
    Sampler("DPM++ 2M SDE Heun", ("k_dpmpp_2m_sde_heun",), (EXPONENTIAL, BROWNIAN, ("solver_type", "heun"))),
    Sampler("DPM++ 2S a", ("k_dpmpp_2s_a",), (KARRAS, ENSD, SECOND_ORDER)),
    Sampler("DPM++ 3M SDE", ("k_dpmpp_3m_sde",), (EXPONENTIAL, DISCARD, BROWNIAN)),
    Sampler("Euler a", ("k_euler_a", "k_euler_ancestral"), (ENSD,)),
    Sampler("Euler", ("k_euler",)),
    Sampler("LMS", ("k_lms",)),
    Sampler("Heun", ("k_heun",), (SECOND_ORDER,)),
    Sampler("DPM2", ("k_dpm_2",), (KARRAS, DISCARD, SECOND_ORDER)),
    Sampler("DPM2 a", ("k_dpm_2_a",), (KARRAS, DISCARD, ENSD, SECOND_ORDER)),
    Sampler("DPM fast", ("k_dpm_fast",), (ENSD,)),
    Sampler("DPM adaptive", ("k_dpm_ad",), (ENSD,)),
    Sampler("Restart", ("restart",), (KARRAS, SECOND_ORDER)),
    Sampler("DDIM", ("ddim",)),
    Sampler("DDIM CFG++", ("ddim_cfgpp",)),
    Sampler("PLMS", ("plms",)),
    Sampler("UniPC", ("unipc",)),
    Sampler("LCM", ("k_lcm",)),
)
SCHEDULERS = (
    Scheduler("automatic", "Automatic"),
    Scheduler("uniform", "Uniform", need_inner_model=True),
    Scheduler("karras", "Karras", default_rho=7.0),
    Scheduler("exponential", "Exponential"),
    Scheduler("polyexponential", "Polyexponential", default_rho=1.0),
    Scheduler("sgm_uniform", "SGM Uniform", aliases=("SGMUniform",), need_inner_model=True),
    Scheduler("kl_optimal", "KL Optimal"),
    Scheduler("align_your_steps", "Align Your Steps"),
    Scheduler("simple", "Simple", need_inner_model=True),
    Scheduler("normal", "Normal", need_inner_model=True),
    Scheduler("ddim", "DDIM", need_inner_model=True),
    Scheduler("beta", "Beta", need_inner_model=True),
)
AUTOMATIC = SCHEDULERS[0]
TIMESTEP_SAMPLERS = frozenset({"DDIM", "DDIM CFG++", "PLMS", "UniPC"})
"""Samplers that ignore the scheduler."""
ETA_SAMPLERS = frozenset(
    {"Euler a", "DPM2 a", "DPM++ 2S a", "DPM++ 2M SDE", "DPM++ SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"}
)
UNIPC_ORDER = 3

_SAMPLERS_BY_NAME = {sampler.name: sampler for sampler in SAMPLERS}
_SCHEDULERS_BY_NAME = {name: scheduler for scheduler in SCHEDULERS for name in (scheduler.name, scheduler.label)}


def sampler_named(name: str | None) -> Sampler | None:
    """The sampler of exactly this name; aliases do not count, None is the first of the list."""
    return SAMPLERS[0] if name is None else _SAMPLERS_BY_NAME.get(name)


def requested(sampler: str | None, scheduler: str | None) -> tuple[str, str | None]:
    """A sampler that exists, and the scheduler as named or as split off the sampler's name."""
    found, split_off = _split(sampler, scheduler)
    if scheduler or split_off.name in (AUTOMATIC.name, found.scheduler):
        return found.name, scheduler
    return found.name, split_off.label


def resolve(sampler: str | None, scheduler: str | None) -> tuple[Sampler, Scheduler]:
    """Return the sampler and scheduler in use: for an unknown one the first of the list, and Automatic."""
    return _split(sampler, scheduler)


def _split(sampler: str | None, scheduler: str | None) -> tuple[Sampler, Scheduler]:
    found = _SCHEDULERS_BY_NAME.get(scheduler or "", AUTOMATIC)
    name = sampler or SAMPLERS[0].name
    for candidate in SCHEDULERS:
        for spelling in candidate.spellings:
            if name.endswith(f" {spelling}"):
                found = candidate
                name = name[: -len(spelling) - 1]
                break
    return _SAMPLERS_BY_NAME.get(name, SAMPLERS[0]), found


def scheduler_in_use(sampler: str | None, scheduler: str | None) -> str:
    """The label of the scheduler that draws: a sampler's own one and Automatic are the same picture."""
    found, wanted = resolve(sampler, scheduler)
    return applied_scheduler(found, wanted) or wanted.label


def applied_scheduler(sampler: Sampler, scheduler: Scheduler) -> str | None:
    """The label that sampling writes into the infotext, None where it leaves what was asked for."""
    if sampler.name in TIMESTEP_SAMPLERS:
        return None
    if scheduler is AUTOMATIC:
        return None if sampler.scheduler is None else _SCHEDULERS_BY_NAME[sampler.scheduler].label
    return scheduler.label
