"""What every request passes: token, origin, size of the body, request id, headers, and a line in the log."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
import time
from asyncio import timeout
from contextvars import ContextVar
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="-")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_STRICT = "default-src 'none'; frame-ancestors 'none'; sandbox"
_FILE = re.compile(r"/v1/jobs/([0-9a-f]{32})/(?:result|before|after|compare|cards|report|zip)")
_ZIP = re.compile(r"/v1/zip/([0-9a-f]{32}(?:,[0-9a-f]{32})*)")  # of several jobs
_CAMERA = re.compile(r"/v1/(restore)")
# Gradio's page needs inline scripts and styles, and eval; all of it comes from this server.
_PAGE = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; form-action 'self'; base-uri 'self'; object-src 'none'; frame-ancestors 'self'"
)
_ID = re.compile(r"[\w-]{1,64}")
BODY_SECONDS = 60.0  # between two parts of an upload
_LOG = logging.getLogger("likeness.web.access")


class Refused(Exception):
    """The body is longer than allowed, or comes too slowly."""


class Guard:
    """ASGI middleware.

    Args:
        app: what it guards.
        token: that clients must send as `Authorization: Bearer`; empty: none.
        local: whether only names of this machine are accepted as the Host, against rebinding of DNS names.
        body: bytes that a request may send.
    """

    def __init__(self, app: ASGIApp, token: str, local: bool, body: int) -> None:
        self.app, self.token, self.local, self.body = app, token, local, body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, path, begun = Headers(scope=scope), scope["path"], time.perf_counter()
        given = headers.get("x-request-id", "")
        id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        REQUEST_ID.set(id)
        status, read, more = 0, 0, True
        fault: JSONResponse | None = None

        async def counted() -> Message:
            nonlocal read, more, fault
            try:
                async with timeout(BODY_SECONDS if more else None):
                    message = await receive()
            except TimeoutError as error:
                fault = refuse(408, f"no part of the upload came for {BODY_SECONDS:g} seconds; send it again")
                raise Refused from error
            read, more = read + len(message.get("body", b"")), message.get("more_body", False)
            if read > self.body:
                fault = self._too_large()
                raise Refused
            return message

        async def guarded(message: Message) -> None:
            if not fault or status:  # what parses the body would call it malformed
                await marked(message)

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                add_headers(MutableHeaders(scope=message), path, id)
            await send(message)

        try:
            refusal = self._refusal(scope, headers)
            if refusal is None:
                await self.app(scope, counted, guarded)
            else:
                await refusal(scope, receive, marked)
        except Refused:
            pass  # answered below
        finally:
            if fault and not status:
                fault.headers["Connection"] = "close"  # the rest of the body is not read
                await fault(scope, receive, marked)
            ms = round(1000 * (time.perf_counter() - begun), 1)
            _LOG.info("%s %s", scope["method"], path, extra={"status": status, "ms": ms})

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        path, host = scope["path"], headers.get("host", "")
        if self.local and urlsplit(f"//{host}").hostname not in LOOPBACK:
            return refuse(421, f"host: got {host[:80]!r}, expected one of this machine, such as 127.0.0.1")
        origin = headers.get("origin")
        if origin and scope["method"] not in ("GET", "HEAD", "OPTIONS") and urlsplit(origin).netloc != host:
            return refuse(403, f"origin: got {origin[:80]!r}; pages of other sites may not use this server")
        if path.startswith(("/v1", "/metrics", "/docs", "/openapi")) and not self._may(scope, headers):
            return refuse(401, "token: missing or wrong; send the header Authorization: Bearer TOKEN")
        if int(headers.get("content-length") or 0) > self.body:
            return self._too_large()
        return None

    def _may(self, scope: Scope, headers: Headers) -> bool:
        if not self.token:
            return True
        given = headers.get("authorization", "")
        if hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            return True
        found = next((m for pattern in (_FILE, _ZIP, _CAMERA) if (m := pattern.fullmatch(scope["path"]))), None)
        key = QueryParams(scope["query_string"]).get("key", "")
        return found is not None and hmac.compare_digest(key.encode(), file_key(self.token, found[1]).encode())

    def _too_large(self) -> JSONResponse:
        return refuse(413, f"the upload is larger than {self.body / 2**20:g} MB, the limit; send a smaller file")


def file_key(token: str, id: str) -> str:
    """What lets a browser, which sends no token, fetch the files of one job, or of several in one zip, or restore
    pictures of its camera (id "restore")."""
    return hmac.new(token.encode(), id.encode(), hashlib.sha256).hexdigest()


def refuse(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as FastAPI writes it."""
    return JSONResponse({"detail": detail}, status, headers)


def add_headers(headers: MutableHeaders, path: str, id: str) -> None:
    """Headers of every answer; those of the API forbid a browser to run, frame or keep what it gets."""
    headers["X-Request-ID"] = id
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    if path.startswith("/v1"):
        headers["Cache-Control"] = "no-store"
        headers["Content-Security-Policy"] = _STRICT
    else:
        headers["X-Frame-Options"] = "SAMEORIGIN"
        headers["Content-Security-Policy"] = _PAGE


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, request id, and what `extra` gave of status and ms."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request": REQUEST_ID.get(),
        }
        line |= {name: getattr(record, name) for name in ("status", "ms") if hasattr(record, name)}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)
