"""How fast files go to the bucket and come back, as web (presigned upload) and the publisher (streamed read) do it."""

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import requests
from botocore.config import Config
from django.conf import settings

from benchmarks.report import Measurement, percentile, report

SIZE = 5 * 1024 * 1024
FILES = 40
AT_ONCE = 8
CHUNK = 64 * 1024


def client() -> Any:
    return boto3.client(
        "s3",
        endpoint_url=settings.S3_ENDPOINT,
        region_name=settings.S3_REGION,
        aws_access_key_id=settings.S3_ACCESS_KEY_ID,
        aws_secret_access_key=settings.S3_SECRET_ACCESS_KEY,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=AT_ONCE),
    )


def measure() -> Sequence[Measurement]:
    storage = client()
    picture = os.urandom(SIZE)

    def upload(number: int) -> float:
        began = time.perf_counter()
        form = storage.generate_presigned_post(settings.S3_BUCKET_NAME, f"benchmark/{number}")
        answer = requests.post(form["url"], data=form["fields"], files={"file": picture}, timeout=60)
        answer.raise_for_status()
        return time.perf_counter() - began

    def read(number: int) -> float:
        began = time.perf_counter()
        digest = hashlib.sha256()
        body = storage.get_object(Bucket=settings.S3_BUCKET_NAME, Key=f"benchmark/{number}")["Body"]
        for chunk in body.iter_chunks(CHUNK):
            digest.update(chunk)
        assert digest.digest() == expected
        return time.perf_counter() - began

    expected = hashlib.sha256(picture).digest()
    found: list[Measurement] = []
    for name, work in (("upload", upload), ("read and digest", read)):
        began = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            took = list(pool.map(work, range(FILES)))
        rate = FILES * SIZE / 1_000_000 / (time.perf_counter() - began)
        label = f"{name}, {SIZE // 1024 // 1024} MiB, {AT_ONCE} at once"
        found += [
            Measurement(f"{label}: all together", rate, "MB/s"),
            Measurement(f"{label}: half within", percentile(took, 0.5) * 1000, "ms"),
            Measurement(f"{label}: 95 of 100 within", percentile(took, 0.95) * 1000, "ms"),
        ]
    return found


if __name__ == "__main__":
    report(measure)
