"""A Space (Hugging Face's, or another host of single scripts): the page for small files; nothing is kept.

Anybody may use it unless the Space's secrets hold LIKENESS_TOKEN.
"""

from __future__ import annotations

import sys

# Without jobs=, jobs lie in a temporary folder that goes with the server; ttl deletes them before.
OPTIONS = (
    "host=0.0.0.0",
    "insecure=true",
    "upload_mb=20",
    "megapixels=12",
    "frames=300",
    "seconds=300",
    "queue=20",
    "ttl=600",
)

if __name__ == "__main__":
    from likeness.web.serve import serve  # here, so that the workers, which import this file, load no web server

    sys.exit(serve(OPTIONS))
