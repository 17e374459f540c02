"""What it costs to find a route, without a server: ``python -m bench.routing``. CPU per request, FastAPI alone and with the route index.

The routes stand on included routers, as a service has them, and do nothing when they are found.
"""

import argparse
import asyncio
import time

from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from app.core.http import APIRouter, GatedRoute
from app.core.http._route_index import indexed

EACH = 6
"""Routes of one router."""


class Found(GatedRoute):
    """Ends where a gate would begin."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Nothing."""


def service(routers: int, each: int) -> FastAPI:
    """An application with so many routers of so many routes."""
    app = FastAPI(redirect_slashes=False)
    for number in range(routers):
        router = APIRouter(prefix=f"/things{number}", route_class=Found)
        for part in range(each):

            @router.get(f"/part{part}/{{item}}")
            async def read(item: str) -> None:
                """Never called."""

        app.include_router(router)
    return app


async def cost(app: FastAPI, path: str, *, rounds: int, requests: int) -> float:
    """CPU in us for each request: the least of all rounds, which other work on the machine disturbs least."""

    async def receive() -> Message:
        return {}

    async def send(_: Message) -> None:
        return None

    taken = []
    for _ in range(rounds):
        scopes: list[Scope] = [
            {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": [], "app": app}
            for _ in range(requests)
        ]
        start = time.process_time()
        for scope in scopes:
            await app.router.app(scope, receive, send)
        taken.append(time.process_time() - start)
    return min(taken) / requests * 1e6


def run(rounds: int, requests: int) -> None:
    """Print the table."""
    print(f"{'CPU us/request':<24}{'FastAPI':>10}{'indexed':>10}")
    for routers, each in ((1, 1), (10, EACH)):
        for name, path in (("first", "/things0/part0/7"), ("last", f"/things{routers - 1}/part{each - 1}/7")):
            app, found = service(routers, each), []
            for routes in (list(app.routes), indexed(app)):
                app.router.routes = routes
                found.append(asyncio.run(cost(app, path, rounds=rounds, requests=requests)))
            print(f"{f'{routers * each} routes, the {name}':<24}{found[0]:>10.1f}{found[1]:>10.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=3000)
    arguments = parser.parse_args()
    run(arguments.rounds, arguments.requests)
