"""`python -m simulator`: prints the endpoint's URL on its first line, then serves until it is told to end."""

import argparse
import asyncio
import signal
from dataclasses import fields
from typing import Any

import simulator
from simulator import faults
from simulator.endpoint import Endpoint
from simulator.hardware import Hardware
from simulator.http_server import listen
from simulator.replies import Manner


def main() -> None:
    asyncio.run(_serve(_options()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="simulator", description=simulator.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--model", default="simulated")
    for settings in (Hardware, Manner):
        for field in fields(settings):
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    faults.add_options(parser)
    return parser.parse_args()


async def _serve(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    endpoint = Endpoint(
        Hardware(**_chosen(Hardware, options)),
        Manner(**_chosen(Manner, options)),
        faults.from_options(options),
        loop=loop,
    )
    server = await listen(endpoint, host=options.host, port=options.port, model=options.model)
    host, port = server.sockets[0].getsockname()[:2]
    print(f"http://{host}:{port}/v1", flush=True)
    await stopping.wait()


def _chosen(settings: type, options: argparse.Namespace) -> dict[str, Any]:
    return {field.name: getattr(options, field.name) for field in fields(settings)}


if __name__ == "__main__":
    main()
