"""The HTTP door of a studio: one ASGI app. Declared doors are answered here; routers of their own go through FastAPI.

A command must cost little, so the way from the socket to a declared door is short: the gate, one look-up, the door.
FastAPI holds what is written as routes (uploads) and the life of the app.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import itertools
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from domain.errors import ComfyVNError
from gateways.http import asyncapi, credentials, exports, job_socket, openapi, page, websocket
from gateways.http.analytics import analytics_doors
from gateways.http.answering import (
    CLOSED_POLICY,
    NO_STORE,
    SHARED_HEADERS,
    Watched,
    answer,
    refuse_websocket,
    said,
    unfit_request,
)
from gateways.http.asking import Locations
from gateways.http.budgets import budget_doors
from gateways.http.commands import command_doors
from gateways.http.exports import export_doors
from gateways.http.gate import Access, Gate, shared_with
from gateways.http.generate import generate_doors
from gateways.http.health import Pulse, WorkerStatus, health_doors, product_version
from gateways.http.hub import Hub
from gateways.http.jobs import job_doors
from gateways.http.live import live_figures
from gateways.http.log import log_doors
from gateways.http.merging import merging_doors
from gateways.http.metrics import Metrics
from gateways.http.models import model_doors
from gateways.http.playtest import playtest_doors
from gateways.http.posed import posed_doors
from gateways.http.problems import (
    Reply,
    broken,
    encode,
    ending,
    method_not_allowed,
    problem,
    unfit,
    unknown_command,
    unknown_path,
)
from gateways.http.providers import provider_doors
from gateways.http.replays import replay_doors
from gateways.http.routing import Door, Doors
from gateways.http.saves import save_doors
from gateways.http.scenario import scenario_doors
from gateways.http.setup import setup_doors
from gateways.http.sse import stream_doors
from gateways.http.switching import switching_doors
from gateways.http.variables import variable_doors
from gateways.http.views import view_doors
from gateways.http.visit import BODY_SECONDS, ClientGone, Visit, single
from gateways.http.webhooks import webhook_doors
from gateways.http.workflows import workflow_doors
from services.redaction import SECRETS
from services.settings import Settings
from services.studio import Studio

_SOCKETS: Final = {"/events/ws": websocket.serve, "/jobs/ws": job_socket.serve}

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}\Z")

log = structlog.get_logger("http")


def create_app(
    studio: Studio, *, access: Access, worker_status: WorkerStatus | None = None, hub: Hub | None = None
) -> StudioApp:
    """The app of a studio. ``worker_status`` tells /status about the worker process.

    Call ``app.begin_closing()`` when the server is told to end: streams are told to resume, and the server needs not
    wait for them.
    """
    return StudioApp(studio, access=access, worker_status=worker_status, hub=hub or Hub(studio.log))


class StudioApp(FastAPI):
    """The ASGI app. Requests for declared doors never enter FastAPI's own stack."""

    def __init__(
        self, studio: Studio, *, access: Access, worker_status: WorkerStatus | None, hub: Hub
    ) -> None:
        @asynccontextmanager
        async def life(_: FastAPI) -> AsyncIterator[None]:
            hub.start()
            try:
                yield
            finally:
                await self.close()

        super().__init__(title="ComfyVN", version=product_version(), openapi_url=None, docs_url=None, redoc_url=None,
                         lifespan=life)
        settings = studio.settings
        self.studio = studio
        self.hub = hub
        self.metrics = Metrics()
        self.pulse = Pulse(studio)
        self.body_seconds = BODY_SECONDS
        self.gate = Gate(access, host=settings.host, allowed_hosts=_hosts(settings),
                         allowed_origins=settings.allowed_origins)
        self.state.studio = studio
        self.state.locations = Locations(studio.registry)
        self._prefix, self._numbers = secrets.token_hex(4), itertools.count(1)
        views = studio.registry.views.values()
        self._asked = frozenset({*studio.registry.askings, *(view.query.__name__ for view in views)})
        self._page: Reply | None = None
        self._documents: dict[str, Reply] = {}
        self._making = asyncio.Lock()
        self.doors = Doors([
            Door("GET", "/", answer=self._index, open=True),
            Door("GET", "/openapi.json", answer=self._openapi, open=True),
            Door("GET", "/asyncapi.json", answer=self._asyncapi, open=True),
            *command_doors(studio, self.state.locations, self.metrics),
            *view_doors(studio, hub, live_figures(studio, self.pulse, self.metrics)),
            *posed_doors(studio, hub),
            *switching_doors(studio, self.metrics),
            *variable_doors(studio, self.metrics),
            *merging_doors(studio, hub, self.metrics),
            *log_doors(studio),
            *export_doors(studio),
            *generate_doors(studio),
            *workflow_doors(studio),
            *job_doors(studio, hub, self.metrics),
            *analytics_doors(studio),
            *budget_doors(studio),
            *provider_doors(studio),
            *model_doors(studio, hub, self.state.locations),
            *setup_doors(studio),
            *playtest_doors(studio),
            *scenario_doors(),
            *save_doors(studio, self.metrics),
            *replay_doors(studio),
            *webhook_doors(studio),
            *stream_doors(studio, hub, self.metrics),
            *health_doors(studio, self.pulse, hub, self.metrics, worker_status, self._routes),
        ])
        self.include_doors(exports.router(studio))
        self.include_doors(credentials.router(studio))
        uploads = _uploads(studio)
        if uploads is not None:
            self.include_doors(uploads)

    def include_doors(self, router: APIRouter) -> None:
        """Adds a router whose routes stand beside the declared doors."""
        self.include_router(router)
        for route in router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                for method in sorted(route.methods):
                    self.doors.add(Door(method, route.path, stream=self._routed))
                if "GET" in route.methods:  # as at declared doors, HEAD goes where GET goes
                    self.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False,
                                       response_class=route.response_class)

    def begin_closing(self) -> None:
        """Tells every stream to resume elsewhere; call it from the loop when the server is told to end."""
        self.hub.begin_closing()

    async def close(self) -> None:
        """Ends what the app has started."""
        await self.hub.close()
        self.pulse.close()

    # --- ASGI -------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        visit = Visit(scope, receive, self._request_id(scope["headers"]), self.studio.settings.body_limit,
                      self.body_seconds)
        watched = Watched(send)
        method, route = scope["method"], "-"
        try:
            found = self.doors.find(method, scope["path"])
            door = found.door
            if door is not None:
                route = door.path
            self._admit(visit, door)
            visit.path = found.path
            if door is None:
                reply = self._nowhere(visit, method, found.allowed)
            elif door.answer is not None:
                reply = await door.answer(visit)
            else:
                assert door.stream is not None
                scope["comfyvn.visit"] = visit
                await door.stream(visit, watched)
                self.metrics.requested(method, route, watched.status)
                return
        except ComfyVNError as error:
            reply = problem(error, visit.request_id)
        except ValidationError as error:
            if error.title in self._asked:  # each part was good, and what they come to together is not
                reply = problem(unfit(error, what=error.title, code="invalid_fields"), visit.request_id)
            else:
                reply = self._broken(visit, method, route)
        except ClientGone:
            return
        except asyncio.CancelledError:  # the server ends, and this took longer than it waits
            if watched.status or not self.hub.closing:
                raise
            reply = problem(ending(), visit.request_id)
        except Exception:
            reply = self._broken(visit, method, route)
        if watched.status:  # the server must cut the connection, so that a half answer is not taken for a whole one
            raise RuntimeError("an answer broke off")
        self.metrics.requested(method if route != "-" else "-", route, reply.status)
        await answer(send, visit, reply, method)

    def _admit(self, visit: Visit, door: Door | None) -> None:
        scope = visit.scope
        host = self.gate.check_host(scope["headers"])
        origin = visit.header(b"origin")
        if origin is not None and self.gate.check_origin(origin, host):
            visit.shared = shared_with(origin)
        if scope.get("method") == "OPTIONS" and visit.shared:
            return
        authorization = visit.header(b"authorization")
        if door is not None and door.open and authorization is None:
            return
        in_query = None
        if authorization is None and _listens(scope["path"]):
            in_query = dict(visit.parameters()).get("access_token")
        visit.grant = self.gate.check_token(authorization, in_query)

    def _nowhere(self, visit: Visit, method: str, allowed: tuple[str, ...]) -> Reply:
        path = visit.scope["path"]
        if method == "OPTIONS" and visit.shared:
            return Reply(204, b"", self.gate.preflight(dict(visit.scope["headers"])))
        if allowed:
            raise method_not_allowed(method, allowed)
        if path.startswith("/api/commands/"):
            raise unknown_command(path.removeprefix("/api/commands/"))
        raise unknown_path(path)

    def _broken(self, visit: Visit, method: str, route: str) -> Reply:
        error_id = secrets.token_hex(6)
        log.exception("request_failed", error_id=error_id, request_id=visit.request_id, method=method, route=route)
        return broken(visit.request_id, error_id)

    async def _websocket(self, scope: Any, receive: Any, send: Any) -> None:
        visit = Visit(scope, receive, self._request_id(scope["headers"]), self.studio.settings.body_limit)
        watched = Watched(send)
        try:
            message = await receive()
            if message["type"] != "websocket.connect":
                return
            self._admit(visit, None)
            serve = _SOCKETS.get(scope["path"])
            if serve is None:
                raise unknown_path(scope["path"])
            await serve(self.studio, self.hub, self.metrics, visit, watched)
        except ComfyVNError as error:
            await refuse_websocket(scope, send, visit, problem(error, visit.request_id))
        except Exception:
            reply = self._broken(visit, "WS", scope["path"] if scope["path"] in _SOCKETS else "-")
            if watched.status:
                await send({"type": "websocket.close", "code": 1011, "reason": "internal_error"})
            else:
                await refuse_websocket(scope, send, visit, reply)

    def _request_id(self, headers: list[tuple[bytes, bytes]]) -> str:
        for name, value in headers:
            if name == b"x-request-id" and _REQUEST_ID.match(value) and not SECRETS.knows(given := value.decode()):
                return str(given)
        return f"{self._prefix}-{next(self._numbers):x}"

    # --- routes that are written as FastAPI routes --------------------------------------------------------------------

    async def _routed(self, visit: Visit, send: Any) -> None:
        headers = [(name, value) for name, value in (*SHARED_HEADERS, (b"x-request-id", visit.request_id.encode()))]

        async def decorated(message: Any) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                added = [one for one in (*headers, NO_STORE, CLOSED_POLICY) if one[0] not in present]
                message["headers"] = [*message["headers"], *added, *visit.shared]
            await send(message)

        try:
            await super().__call__(visit.scope, visit.more, decorated)
        except HTTPException as error:
            raise said(error) from error
        except RequestValidationError as error:
            raise unfit_request(error) from error
        except ClientDisconnect as error:
            raise ClientGone from error

    def build_middleware_stack(self) -> Any:
        """Nothing that answers errors in its own words: they come out, and the app answers them."""
        return AsyncExitStackMiddleware(self.router)

    # --- documents --------------------------------------------------------------------------------------------------

    def openapi(self) -> dict[str, Any]:
        """The document of every door."""
        return openapi.document(self.studio.registry, self.doors.all, super().openapi(), product_version())

    async def _openapi(self, visit: Visit) -> Reply:
        return await self._document("openapi", visit, self.openapi)

    async def _asyncapi(self, visit: Visit) -> Reply:
        return await self._document(
            "asyncapi", visit, lambda: asyncapi.document(self.studio.registry, product_version())
        )

    async def _document(self, name: str, visit: Visit, make: Any) -> Reply:
        single(visit.parameters(), frozenset())
        async with self._making:  # it takes seconds, once, and nobody else should wait for it
            if name not in self._documents:
                self._documents[name] = Reply(200, await asyncio.to_thread(lambda: encode(make())))
        return self._documents[name]

    async def _index(self, visit: Visit) -> Reply:
        if self._page is None:
            self._page = page.index(self.doors.all, product_version())
        return self._page

    def _routes(self) -> list[str]:
        return [*sorted(f"{door.method} {door.path}" for door in self.doors.all), *(f"WS {path}" for path in _SOCKETS)]


def _listens(path: str) -> bool:
    """Whether a browser listens there, and cannot send a header with its token."""
    return path.startswith(("/events/", "/jobs/")) or (path.startswith("/api/jobs/") and path.endswith("/events"))


def _hosts(settings: Settings) -> tuple[str, ...]:
    """Names that the server answers to: those that are allowed, and the one where engines call."""
    public = urlsplit(settings.public_url).hostname if settings.public_url else None
    return (*settings.allowed_hosts, public) if public else settings.allowed_hosts


def _uploads(studio: Studio) -> APIRouter | None:
    """The router of uploads, which is a file of its own."""
    if importlib.util.find_spec("gateways.http.uploads") is None:
        return None
    router: APIRouter = importlib.import_module("gateways.http.uploads").router(studio)
    return router
