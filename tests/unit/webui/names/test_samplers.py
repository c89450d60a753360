from __future__ import annotations

import pytest

from worker.webui.names.samplers import Sampler, SamplerTable, Sampling, Scheduler, key

SAMPLERS = [
    Sampler("DPM++ 2M", ("k_dpmpp_2m",), "karras"),
    Sampler("DPM++ SDE", ("k_dpmpp_sde",), "karras"),
    Sampler("DPM++ 2M SDE", ("k_dpmpp_2m_sde",), "exponential"),
    Sampler("DPM++ 2M SDE Heun", ("k_dpmpp_2m_sde_heun",), "exponential"),
    Sampler("DPM++ 2S a", ("k_dpmpp_2s_a",), "karras"),
    Sampler("DPM++ 3M SDE", ("k_dpmpp_3m_sde",), "exponential"),
    Sampler("Euler a", ("k_euler_a", "k_euler_ancestral")),
    Sampler("Euler", ("k_euler",)),
    Sampler("LMS", ("k_lms",)),
    Sampler("Heun", ("k_heun",)),
    Sampler("DPM2", ("k_dpm_2",), "karras"),
    Sampler("DPM2 a", ("k_dpm_2_a",), "karras"),
    Sampler("DPM fast", ("k_dpm_fast",)),
    Sampler("DPM adaptive", ("k_dpm_ad",)),
    Sampler("Restart", ("restart",), "karras"),
    Sampler("DDIM", ("ddim",)),
    Sampler("DDIM CFG++", ("ddim_cfgpp",)),
    Sampler("PLMS", ("plms",)),
    Sampler("UniPC", ("unipc",)),
    Sampler("LCM", ("k_lcm",)),
]
SCHEDULERS = [
    Scheduler("automatic", "Automatic"),
    Scheduler("uniform", "Uniform"),
    Scheduler("karras", "Karras"),
    Scheduler("exponential", "Exponential"),
    Scheduler("polyexponential", "Polyexponential"),
    Scheduler("sgm_uniform", "SGM Uniform", ("SGMUniform",)),
    Scheduler("kl_optimal", "KL Optimal"),
    Scheduler("align_your_steps", "Align Your Steps"),
    Scheduler("simple", "Simple"),
    Scheduler("normal", "Normal"),
    Scheduler("ddim", "DDIM"),
    Scheduler("beta", "Beta"),
]
NAMES = SamplerTable(SAMPLERS, SCHEDULERS)


@pytest.mark.parametrize(
    ("written", "sampler", "scheduler"),
    [
        ("Euler a", "Euler a", None),
        ("euler a", "Euler a", None),
        ("EULER A", "Euler a", None),
        ("euler_a", "Euler a", None),
        ("k_euler_a", "Euler a", None),
        ("euler_ancestral", "Euler a", None),
        ("sample_euler_ancestral", "Euler a", None),
        ("DPM++ 2M Karras", "DPM++ 2M", "Karras"),
        ("dpm++ 2m karras", "DPM++ 2M", "Karras"),
        ("dpmpp_2m", "DPM++ 2M", None),
        ("dpmpp_2m_karras", "DPM++ 2M", "Karras"),
        ("DPM++ 2M SDE Heun Exponential", "DPM++ 2M SDE Heun", "Exponential"),
        ("dpmpp_2m_sde_gpu", "DPM++ 2M SDE", None),
        ("DPM++ 3M SDE Exponential", "DPM++ 3M SDE", "Exponential"),
        ("dpmpp_2s_ancestral", "DPM++ 2S a", None),
        ("DPM2 a Karras", "DPM2 a", "Karras"),
        ("k_dpm_2_ancestral", "DPM2 a", None),
        ("uni_pc", "UniPC", None),
        ("ddim", "DDIM", None),
        ("DDIM CFG++", "DDIM CFG++", None),
        ("Euler SGM Uniform", "Euler", "SGM Uniform"),
        ("euler simple", "Euler", "Simple"),
        ("LMS Karras", "LMS", "Karras"),
    ],
)
def test_a_sampler_is_understood_as_people_write_it(written: str, sampler: str, scheduler: str | None) -> None:
    assert NAMES.resolve(written, None) == (Sampling(sampler, scheduler), [])


@pytest.mark.parametrize("sampler", [s.name for s in SAMPLERS])
@pytest.mark.parametrize("scheduler", [s.label for s in SCHEDULERS])
def test_every_listed_pair_means_itself_joined_or_apart(sampler: str, scheduler: str) -> None:
    assert NAMES.resolve(sampler, scheduler) == (Sampling(sampler, scheduler), [])
    assert NAMES.resolve(f"{sampler} {scheduler}", None) == (Sampling(sampler, scheduler), [])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_listed_alias_means_its_sampler(sampler: Sampler) -> None:
    for alias in sampler.aliases:
        assert NAMES.resolve(alias, None)[0].sampler == sampler.name


def test_a_scheduler_beside_the_name_wins_over_the_one_inside() -> None:
    assert NAMES.resolve("DPM++ 2M Karras", "exponential") == (Sampling("DPM++ 2M", "Exponential"), [])


@pytest.mark.parametrize(
    ("written", "label"), [("karras", "Karras"), ("sgm_uniform", "SGM Uniform"), ("SGMUniform", "SGM Uniform")]
)
def test_a_scheduler_is_understood_by_name_label_and_alias(written: str, label: str) -> None:
    assert NAMES.resolve(None, written) == (Sampling(None, label), [])


def test_unknown_names_are_problems_with_a_suggestion_and_their_path() -> None:
    chosen, problems = NAMES.resolve("DPM++ 2N", "karas", sampler_path="hr_sampler_name", scheduler_path="hr_scheduler")
    assert chosen == Sampling(None, None)
    assert [(p.path, p.suggestion) for p in problems] == [("hr_sampler_name", "DPM++ 2M"), ("hr_scheduler", "Karras")]


@pytest.mark.parametrize(
    ("sampler", "scheduler", "effective"),
    [
        ("DPM++ 2M", None, "Karras"),
        ("DPM++ 2M", "Automatic", "Karras"),
        ("DPM++ 2M", "Uniform", "Uniform"),
        ("Euler", None, "Automatic"),
        ("DPM++ 2M SDE", "Automatic", "Exponential"),
    ],
)
def test_automatic_means_the_samplers_own_scheduler(sampler: str, scheduler: str | None, effective: str) -> None:
    assert NAMES.effective(sampler, scheduler) == effective


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("DPM+++ 2M", "DPM++ 2M"),
        ("DPM+ 2M", "DPM++ 2M"),
        ("Euler+ a", "Euler a"),
        ("Euler a!", "Euler a"),
        ("Euler*", "Euler"),
        ("DDIM CFG+++", "DDIM CFG++"),
        ("Eulér", "Euler"),
        ("DPM+++ 2M Karras", "DPM++ 2M Karras"),
    ],
)
def test_a_sign_too_many_or_too_few_is_a_typo(typo: str, meant: str) -> None:
    sampling, (problem,) = NAMES.resolve(typo, None)
    assert sampling == Sampling(None, None)
    assert (problem.path, problem.suggestion) == ("sampler_name", meant)


@pytest.mark.parametrize("typo", ["karras+", "+karras", "SGM+Uniform"])
def test_so_it_is_for_schedulers(typo: str) -> None:
    _, problems = NAMES.resolve(None, typo)
    assert [problem.path for problem in problems] == ["scheduler"]


@pytest.mark.parametrize("alias", ["k_dpm_ad", "dpm_ad", "restart", "k_euler_ancestral"])
def test_an_alias_is_its_sampler(alias: str) -> None:
    assert NAMES.resolve(alias, None)[1] == []


@pytest.mark.parametrize("name", ["Sampler", "GPU", "k_sampler"])
def test_a_name_of_nothing_but_what_people_add_stays_a_name(name: str) -> None:
    assert key(name)
