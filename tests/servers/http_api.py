"""An HTTP API on loopback, in a thread of its own, open to whoever has its token; it records what is asked of it."""

from aiohttp import web

from servers import event_loop
from servers.loopback import HOST


class HttpApi:
    """Subclasses say what is served in `routes`, who may not pass in `stopped`, and how they say no in `refusal`."""

    token = "loopback-token"

    def __init__(self):
        self.requests = []
        self._running = event_loop.in_thread(self._serve)

    def __enter__(self):
        self._running.__enter__()
        return self

    def __exit__(self, *failure):
        self._running.__exit__(*failure)

    @property
    def url(self):
        return f"http://{HOST}:{self.port}"

    def routes(self):
        """aiohttp's route definitions."""
        raise NotImplementedError

    def refusal(self, code, reason, message):
        return web.json_response({"message": message}, status=code)

    async def stopped(self, request):
        """The answer for whoever may not pass; None for the others."""
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return self.refusal(401, "Unauthorized", "Unauthorized")
        return None

    @web.middleware
    async def _gate(self, request, handler):
        answer = await self.stopped(request)
        return answer if answer is not None else await handler(request)

    async def _serve(self, ready, stop):
        app = web.Application(middlewares=[self._gate], client_max_size=16 << 20)
        app.add_routes(self.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        self.port = runner.addresses[0][1]
        ready()
        await stop.wait()
        await runner.cleanup()
