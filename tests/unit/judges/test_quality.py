"""Plain quality: broken pictures are found, whole ones are not, and near-duplicates have near hashes."""

from __future__ import annotations

import random
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from tests.support.pictures import file, noise
from worker.judges.panel import DUPLICATE_BITS
from worker.judges.perceptual_hash import perceptual_hash
from worker.judges.quality import QualityJudge, measure_quality, score_quality


def scene(seed: int = 1, size: tuple[int, int] = (768, 768)) -> Image.Image:
    """Return a picture with the statistics of a photograph: light and shade, edges, fine texture."""
    chance = random.Random(seed)
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        x, y = chance.randrange(size[0]), chance.randrange(size[1])
        wide, high = chance.randrange(20, size[0] // 3), chance.randrange(20, size[1] // 3)
        colour = tuple(chance.randrange(20, 236) for _ in range(3))
        draw.ellipse((x - wide, y - high, x + wide, y + high), fill=colour)
    texture = noise(*size, seed=seed).filter(ImageFilter.GaussianBlur(1.2))
    return Image.blend(image, texture, 0.25)


def score(image: Image.Image) -> float:
    return score_quality(measure_quality(image))[0]


def test_a_picture_with_light_shade_and_detail_is_good() -> None:
    assert min(score(scene(seed)) for seed in range(5)) > 0.7


@pytest.mark.parametrize("colour", ["black", "white", "grey", "brown"])
def test_a_picture_of_one_colour_is_blank(colour: str) -> None:
    verdict = QualityJudge().look(Image.new("RGB", (512, 512), colour))
    assert (verdict.accepted, verdict.score, verdict.why) == (False, 0.0, "blank")


def test_pure_noise_is_no_picture() -> None:
    verdict = QualityJudge().look(noise(512, 512))
    assert (verdict.accepted, verdict.score, verdict.why) == (False, 0.0, "noise")


def test_blur_darkness_and_lost_contrast_cost_points_the_more_the_worse() -> None:
    whole = scene()
    blurred = [score(whole.filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 4, 10)]
    dark = [score(ImageEnhance.Brightness(whole).enhance(share)) for share in (1, 0.3, 0.1)]
    flat = [score(ImageEnhance.Contrast(whole).enhance(share)) for share in (1, 0.3, 0.15)]
    for scores in (blurred, dark, flat):
        assert scores == sorted(scores, reverse=True)
        assert scores[-1] < 0.4 < scores[0]


def test_the_judge_accepts_from_the_least_score_on_and_tells_every_figure() -> None:
    image = scene()
    own = score(image)
    accepted, rejected = QualityJudge(own).look(image), QualityJudge(own + 0.01).look(image)
    assert (accepted.accepted, rejected.accepted) == (True, False)
    assert f"at least {own + 0.01:g}" in str(rejected.why)
    assert {"score", "sharpness", "clipping", "brightness", "contrast", "entropy", "noise", "correlation"} == set(
        rejected.details
    )


@pytest.mark.parametrize("size", [(1, 1), (2, 600), (64, 64), (3000, 5)])
def test_pictures_of_any_size_are_measured(size: tuple[int, int]) -> None:
    figures = measure_quality(noise(*size))
    assert all(np.isfinite(value) for value in figures.to_json().values())


def test_the_same_picture_in_other_sizes_and_qualities_is_a_near_duplicate_and_other_pictures_are_not() -> None:
    image = scene()
    jpeg = Image.open(BytesIO(file(image, "JPEG", quality=20)))
    variants = [jpeg, image.resize((300, 300)), ImageEnhance.Brightness(image).enhance(1.2)]
    own = perceptual_hash(image)
    assert all((perceptual_hash(one) ^ own).bit_count() <= DUPLICATE_BITS for one in variants)
    others = [perceptual_hash(scene(seed)) for seed in range(2, 12)]
    assert all((other ^ own).bit_count() > DUPLICATE_BITS for other in others)
