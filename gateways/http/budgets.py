"""Budgets as they stand now: the one question about them that depends on the month in which it is asked."""

from __future__ import annotations

from typing import Final

from gateways.http import openapi, schemas
from gateways.http.asking import DEFAULT_PROJECT
from gateways.http.problems import Reply, encode, in_future
from gateways.http.routing import Door
from gateways.http.views import lists_of, read_query
from gateways.http.visit import Visit
from projections.operations.budget import ShowBudgets, show_budgets
from projections.reading import View
from services.studio import Studio

SCOPE: Final = "budget:read"

VIEW: Final = View("ShowBudgets", "/api/budgets", ShowBudgets, show_budgets, ("budget",), SCOPE)


def budget_doors(studio: Studio) -> list[Door]:
    """The budgets of a project with what is left of them, in a month or in this one."""

    async def show(visit: Visit) -> Reply:
        given = visit.parameters()
        if not any(name == "month" for name, _ in given):
            given = [*given, ("month", studio.clock()[:7])]
        query = read_query(ShowBudgets, lists_of(ShowBudgets), given, visit.path)
        visit.grant.need(SCOPE, query.project)
        if query.min_position and query.min_position > (head := await studio.log.head()):
            raise in_future("min_position", query.min_position, head)
        seen = await studio.look_closely(VIEW, query)
        headers = [(b"x-comfyvn-position", b"%d" % seen.position), (b"cache-control", b"no-cache")]
        return Reply(200, encode(seen.answer), headers)

    return [Door("GET", "/api/budgets", answer=show, operation=openapi.read_operation(
        "ShowBudgets", "The budgets of a project, and how they stand in a month.", "views",
        {"type": "object", "required": ["items", "next", "month", "used", "unit"]},
        parameters=[
            schemas.parameter("project", "query", schemas.NAME | {"default": DEFAULT_PROJECT}),
            schemas.parameter("month", "query", {"type": "string", "pattern": r"^\d{4}-\d{2}$"},
                              "A month of UTC; by default the present one."),
            schemas.parameter("scope", "query", {"type": "string"}, "`project`, or `account:` and an account's name."),
            schemas.parameter("min_position", "query", {"type": "integer", "minimum": 0, "default": 0}),
        ],
        statuses=(400, 401, 403, 422, 503), description=f"Needs the scope `{SCOPE}`.",
    ))]
