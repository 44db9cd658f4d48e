"""What machines ask the web process: whether it lives, whether the node is ready, and the metrics.

What it is: the routes ``/healthz``, ``/readyz`` and ``/metrics``, none of which needs a session.
Who calls it: ``application``, which adds them to its application.
Must never: show metrics to an address that ``web.metrics_networks`` does not name, or to whoever came through a proxy; say in an
answer more than one plain reason.
Sources: docs/design.md section 10 ("Web"); Prometheus, "Text-based format 0.0.4".
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from gateway import ipc, requests
from gateway.config import Config
from gateway.web.door import Ask

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip", "via", "x-forwarded-host")


def may_read_metrics(request: Request, config: Config) -> bool:
    """Whether *request* comes itself (not through a proxy, whose address says nothing) from one of ``web.metrics_networks``."""
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    public = urlsplit(config.web.public_url)
    if public.scheme == "https" and request.url.hostname == public.hostname:
        return False  # a proxy that adds no field still passes on, mostly, the name that the page was asked for
    try:
        address = ipaddress.ip_address(request.client.host.partition("%")[0])
    except ValueError:
        return False  # a unix socket: who comes through it is not known
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    networks = (ipaddress.ip_network(network) for network in config.web.metrics_networks)
    return any(address in network for network in networks if network.version == address.version)


def add(app: FastAPI, config: Config, ask: Ask) -> None:
    """Adds the routes to *app*."""

    @app.get("/healthz")
    async def healthz() -> Response:
        # That this is answered is the answer: a process that is well is not started anew because another one is not.
        return JSONResponse({"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        try:
            answer, _ = await ask(requests.Health())
        except ipc.ChannelError:
            return JSONResponse({"status": "not ready", "reason": "the keeper does not answer"}, 503)
        if not isinstance(answer, requests.Rows) or not answer.rows:
            return JSONResponse({"status": "not ready", "reason": "the store cannot be written"}, 503)
        row = answer.rows[0]
        if row.get("ready", False):
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "not ready", "reason": str(row.get("lacks", ""))}, 503)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        if not may_read_metrics(request, config):
            return PlainTextResponse("This address may not read the metrics; the option web.metrics_networks names those that may.\n", 403)
        try:
            answer, _ = await ask(requests.GetMetrics())
        except ipc.ChannelError:
            return PlainTextResponse("The keeper does not answer.\n", 503)
        if not isinstance(answer, requests.Rows) or not answer.rows:
            return PlainTextResponse("The keeper has no metrics now.\n", 503)
        return Response(str(answer.rows[0].get("text", "")), headers={"content-type": TYPE})
