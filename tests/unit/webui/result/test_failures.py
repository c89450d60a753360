"""The log after a failed request, in the words of A1111 v1.10.1: was a model left half loaded?"""

from __future__ import annotations

import pytest

from worker.webui.result.failures import (
    half_loaded,
    half_loaded_by_words,
    is_lost_gpu,
    is_no_memory,
    starved_loras,
    was_interrupted,
)

REUSING = "Reusing loaded model Deliberate_v6.safetensors to load Other_v1.safetensors"
LOADING = "Loading weights [None] from /models/Other_v1.safetensors"
LOADED = "Weights loaded in 0.8s (load weights from disk: 0.2s, apply weights to model: 0.4s)."
CREATING = "Creating model from config: /webui/configs/v1-inference.yaml"
FRESH = "Model loaded in 2.1s (create model: 0.6s)."
BACK = "Failed to load checkpoint, restoring previous"
SHAPES = "Error(s) in loading state_dict for LatentDiffusion: size mismatch for model.x"
NO_MEMORY = "unable to mmap 173643910 bytes from file </models/Other_v1.safetensors>: Cannot allocate memory (12)"


@pytest.mark.parametrize(
    ("lines", "said", "switches", "half"),
    [
        ([], NO_MEMORY, False, None),
        (["100%|####|"], NO_MEMORY, False, None),
        ([], NO_MEMORY, True, "model"),
        ([REUSING, LOADING], NO_MEMORY, True, "model"),
        ([REUSING, LOADING, LOADED], NO_MEMORY, True, None),
        ([CREATING], NO_MEMORY, False, "model"),
        ([REUSING], NO_MEMORY, False, "model"),
        ([LOADING], NO_MEMORY, False, "model"),
        (["Loading model Other_v1.safetensors (2 out of 3)"], NO_MEMORY, False, "model"),
        ([LOADING, CREATING], NO_MEMORY, True, "model"),
        ([LOADING, CREATING, FRESH], "a tensor has the wrong shape", True, None),
        (["Using already loaded model Other_v1.safetensors: done in 0.1s"], NO_MEMORY, True, None),
        ([REUSING, LOADING, LOADED, REUSING, LOADING], NO_MEMORY, True, "model"),
        ([REUSING, LOADING, BACK, LOADING], SHAPES, True, None),
        ([REUSING, LOADING, BACK, LOADING], NO_MEMORY, True, "model"),
        (["Loading VAE weights specified in settings: /models/vae/a.safetensors"], SHAPES, False, "vae"),
        (["Loading VAE weights specified in settings: /a", "VAE weights loaded."], SHAPES, False, None),
        (["Restoring base VAE"], NO_MEMORY, False, "vae"),
        (["Restoring base VAE", "VAE weights loaded."], NO_MEMORY, False, None),
    ],
)
def test_a_model_is_half_loaded_when_loading_began_and_did_not_end(
    lines: list[str],
    said: str,
    switches: bool,  # noqa: FBT001 - a table
    half: str | None,
) -> None:
    assert half_loaded(lines, said, switches=switches) == half


@pytest.mark.parametrize(
    ("said", "switches", "half"),
    [
        ("Error(s) in loading state_dict for AutoencoderKL:\n\tsize mismatch for encoder.conv_in.weight", False, "vae"),
        ("Error(s) in loading state_dict for AutoencoderKLInferenceWrapper:\n\tMissing key(s)", False, "vae"),
        ("Error(s) in loading state_dict for SDVAE:\n\tMissing key(s)", False, "vae"),
        ("Error(s) in loading state_dict for LatentDiffusion:\n\tsize mismatch", False, None),
        ("1 validation error for ControlNetUnit", False, None),
        ("1 validation error for ControlNetUnit", True, "model"),
    ],
)
def test_without_a_log_the_words_of_a_failure_tell_what_is_half_loaded(
    said: str,
    switches: bool,  # noqa: FBT001 - a table
    half: str | None,
) -> None:
    assert half_loaded_by_words(said, switches=switches) == half


def test_a_lora_that_does_not_fit_is_not_one_that_memory_failed() -> None:
    unfit = "DEBUG [root] Network style layer diffusion_model_out_2: The size of tensor a (320) must match"
    starved = "DEBUG [root] Network style layer diffusion_model_out_2: CUDA out of memory. Tried to allocate 20.00 MiB."
    assert starved_loras([unfit, starved, "something else is out of memory"]) == [starved]


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 20.00 MiB.",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to ...",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 16777216 bytes.",
        NO_MEMORY,
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "std::bad_alloc",
        "Unable to find a valid cuDNN algorithm to run convolution",
        "could not create a primitive",
    ],
)
def test_every_way_of_saying_that_there_is_no_memory_is_known(words: str) -> None:
    assert is_no_memory(words)


def test_an_interrupt_counts_only_after_the_requests_own_beginning() -> None:
    before = "2026-11-21 09:40:30 INFO [modules.shared_state] Ending job scripts_txt2img (17.39 seconds)"
    began = "2026-11-21 09:40:31 INFO [modules.shared_state] Starting job scripts_txt2img"
    interrupt = "2026-11-21 09:40:32 INFO [modules.shared_state] Received interrupt request"
    assert was_interrupted([before, began, "100%|###|", interrupt])
    assert not was_interrupted([before, interrupt, began])
    assert not was_interrupted([interrupt])
    assert not was_interrupted([])


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: an illegal memory access was encountered",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "cuBLAS error: CUBLAS_STATUS_INTERNAL_ERROR when calling `cublasGemmEx`",
        "/aten/src/ATen/native/cuda/Indexing.cu:1292: block: [0,0,0], Assertion failed: device-side assert triggered",
        "HIP error: the operation cannot be performed in the present state",
        "NCCL error in: ProcessGroupNCCL.cpp:1970, unhandled system error",
    ],
)
def test_words_of_a_gpu_that_is_lost(words: str) -> None:
    assert is_lost_gpu(words)
    assert is_lost_gpu(words.upper())
    assert not is_no_memory(words)


@pytest.mark.parametrize(
    "words", ["a tensor has the wrong shape", "CUDA out of memory", "cannot find the cudnn folder"]
)
def test_words_of_a_gpu_that_is_there(words: str) -> None:
    assert not is_lost_gpu(words)
