"""Common part of both reference loops: start the WebUI, ask it for a picture, upload it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import requests
from botocore.config import Config

URL = f"http://127.0.0.1:{os.environ['WEBUI_PORT']}"


def start() -> None:
    """Start the WebUI and wait until it makes a picture."""
    models = Path(os.environ["MODELS_DIR"])
    arguments = [
        "--port",
        os.environ["WEBUI_PORT"],
        "--ckpt-dir",
        str(models / "checkpoints"),
        "--server-name",
        "127.0.0.1",
    ]
    arguments += ["--api", "--nowebui", "--data-dir", str(Path.cwd() / "data"), "--lora-dir", str(models / "loras")]
    with Path(os.devnull).open("w") as nowhere:
        subprocess.Popen(
            [sys.executable, str(Path(os.environ["WEBUI_DIR"]) / "launch.py"), *arguments],
            stdout=nowhere,
            stderr=nowhere,
        )
    while True:
        try:
            requests.post(f"{URL}/sdapi/v1/txt2img", json={"steps": 1, "width": 64, "height": 64}, timeout=60)
        except requests.RequestException:
            time.sleep(0.1)
        else:
            return


def picture(order: dict[str, Any]) -> bytes:
    """Return the picture that the WebUI makes."""
    body = {name: value for name, value in order.items() if name != "output"}
    answer = requests.post(f"{URL}/sdapi/v1/txt2img", json=body, timeout=600)
    return base64.b64decode(answer.json()["images"][0])


def uploader() -> Any:
    """Return a function that stores a picture and returns its URL."""
    client = boto3.client(
        "s3",
        endpoint_url=os.environ["BUCKET_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=os.environ["BUCKET_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["BUCKET_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}),
    )

    def upload(job_id: str, data: bytes) -> str:
        bucket = os.environ["BUCKET_NAME"]
        client.put_object(Bucket=bucket, Key=f"{job_id}.png", Body=data, ContentType="image/png")
        link: str = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": f"{job_id}.png"})
        return link

    return upload
