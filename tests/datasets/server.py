"""Servers of files: one that sends any part of a file, as servers of data do, and one that sends whole files only."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator, List, NamedTuple, Optional

from aiohttp import web


class Request(NamedTuple):
    """What was asked for: a path, and the first byte of a part of it."""

    path: str
    begin: Optional[int]


class Served(NamedTuple):
    """Where files are served, and what was asked for."""

    url: str
    requests: List[Request]


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Serve files and parts of them, with lists of folders, as long as the block lasts."""
    requests: List[Request] = []

    @web.middleware
    async def noted(request: Any, handler: Any) -> Any:
        if request.method == "GET":
            requests.append(Request(request.path, request.http_range.start))
        return await handler(request)

    application = web.Application(middlewares=[noted])
    application.router.add_static("/data", folder, show_index=True)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(application)

    async def start() -> str:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/data"

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield Served(asyncio.run_coroutine_threadsafe(start(), loop).result(), requests)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def serving_whole_files(folder: Path) -> Iterator[str]:
    """Serve files from their beginning only, as Python's own server does; yield the URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
