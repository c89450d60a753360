"""Paths of A1111's API that make pictures or captions."""

from __future__ import annotations

TXT2IMG = "/sdapi/v1/txt2img"
IMG2IMG = "/sdapi/v1/img2img"
UPSCALE = "/sdapi/v1/extra-single-image"
INTERROGATE = "/sdapi/v1/interrogate"
