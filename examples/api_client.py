"""Restores a file by a running `likeness serve`: python examples/api_client.py photo.jpg restored.jpg"""

import json
import os
import sys
import time

import httpx


def restore(client: httpx.Client, source: str, target: str, **options: object) -> str:
    """Writes the restored `source` to `target` and returns the summary."""
    with open(source, "rb") as file:
        answer = client.post("/v1/jobs", files={"file": file}, data={"options": json.dumps(options)})
    answer.raise_for_status()
    job = answer.json()
    while job["status"] in ("pending", "running"):
        time.sleep(0.5)
        job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    if job["status"] != "done":
        raise SystemExit(job["error"])
    with open(target, "wb") as file:
        file.write(client.get(f"/v1/jobs/{job['id']}/result").raise_for_status().content)
    return job["summary"]


if __name__ == "__main__":
    token = os.environ.get("LIKENESS_TOKEN", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=os.environ.get("LIKENESS_URL", "http://127.0.0.1:7860"), headers=headers) as http:
        print(restore(http, *sys.argv[1:3], upscale=2))
