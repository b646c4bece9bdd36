"""``python -m deviantart.sandbox``: run the stand-in until it is told to end."""

import argparse
import asyncio
import os
import random
import signal
import sys
from pathlib import Path

from deviantart.sandbox.app import Sandbox
from deviantart.sandbox.apps import register_app
from deviantart.sandbox.controls import Controls
from deviantart.sandbox.profile import PROFILES, Profile
from deviantart.sandbox.server import HttpServer
from deviantart.sandbox.state import State

_CLIENT_ID = "1001"
_CLIENT_SECRET = "5a4db0c5a4db0c5a4db0c5a4db0c5a4d"  # noqa: S105 - opens nothing but a sandbox


def main() -> None:
    asyncio.run(_serve(_arguments()))


def _arguments() -> argparse.Namespace:
    environment = os.environ.get
    parser = argparse.ArgumentParser(
        prog="python -m deviantart.sandbox",
        description="A stand-in for DeviantArt, for development and tests. GET /_sandbox/ documents its controls.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9080, help="0 chooses a free one and prints it (default: 9080)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep everything here; left out: until it ends")
    parser.add_argument("--profile", choices=PROFILES, default="quiet", help="how it behaves at first (default: quiet)")
    parser.add_argument("--seed", type=int, help="draw all randomness from this number; left out: another each time")
    parser.add_argument("--base-url", help="how others reach it, when that is not http://HOST:PORT")
    parser.add_argument("--client-id", default=environment("SANDBOX_CLIENT_ID", _CLIENT_ID))
    parser.add_argument(
        "--client-secret",
        default=environment("SANDBOX_CLIENT_SECRET", _CLIENT_SECRET),
        help="empty: a public application",
    )
    parser.add_argument(
        "--redirect-uri",
        action="append",
        default=environment("SANDBOX_REDIRECT_URIS", "").split() or None,
        help="may be repeated; none: any loopback address",
    )
    parser.add_argument("--app-name", default=environment("SANDBOX_APP_NAME", "Sandbox App"))
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    state = State(arguments.data, profile=Profile(seed=seed).changed({"profile": arguments.profile}))

    def register_configured_app() -> str:
        register_app(
            state,
            client_id=arguments.client_id,
            client_secret=arguments.client_secret or None,
            name=arguments.app_name,
            redirect_uris=arguments.redirect_uri or [],
        )
        return str(arguments.client_id)

    server = HttpServer()
    controls = Controls(state, register_configured_app, reset_others=server.reset_others, refuse=server.refuse)
    sandbox = Sandbox(state, controls, server.refuse)
    try:
        port = await server.start(arguments.host, arguments.port, sandbox.handle)
    except OSError as error:
        sys.exit(
            f"The sandbox cannot listen on {arguments.host}, port {arguments.port}: {os.strerror(error.errno or 0)}."
        )
    host = "127.0.0.1" if arguments.host in {"0.0.0.0", "::"} else arguments.host  # noqa: S104 - compared, not bound
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    state.base_url = (arguments.base_url or address).rstrip("/")

    ended = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, ended.set)
    # Whoever starts the sandbox waits for this line.
    print(f"sandbox ready on {address}", flush=True)
    await ended.wait()
    await server.stop()
    state.close()


if __name__ == "__main__":
    main()
