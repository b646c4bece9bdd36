"""Which port each part listens on, and that it stays the same from one start to the next."""

import json
import secrets
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from isekai.devstack.errors import DevstackError

HOST = "127.0.0.1"
# SeaweedFS opens a second port so far above most of its own.
GRPC_OFFSET = 10_000
# With that offset still below the range from which Linux takes the near ends of outgoing connections (32768 and up), so
# that a port that was free when it was chosen is not gone when its server comes to bind it.
FIRST, LAST = 10_000, 22_000


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers themselves do: a connection that has just ended does not keep the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def is_free_with_grpc(port: int) -> bool:
    return is_free(port) and is_free(port + GRPC_OFFSET)


def free_ports(count: int, *, besides: Collection[int] = ()) -> list[int]:
    """``count`` different ports that nobody listens on, none of ``besides``, with the ports at the offset above them.

    Drawn at random: two stacks that start at the same moment seldom meet, and whoever starts a server on one of them
    must still be ready to find it taken.
    """
    found: list[int] = []
    for _ in range(1000):
        if len(found) == count:
            return found
        port = FIRST + secrets.randbelow(LAST - FIRST)
        nearby = {port - GRPC_OFFSET, port, port + GRPC_OFFSET}
        if nearby.isdisjoint(found) and nearby.isdisjoint(besides) and is_free_with_grpc(port):
            found.append(port)
    raise DevstackError(f"No {count} free ports between {FIRST} and {LAST} on {HOST}.")


class RememberedPorts:
    """Ports by the name of what listens there, kept in a file."""

    def __init__(self, path: Path, wanted: dict[str, int], say: Callable[[str], None]) -> None:
        """``wanted`` is what is taken the first time, where it is free."""
        self._path = path
        self._say = say
        self._ports = dict(wanted)
        with suppress(FileNotFoundError, ValueError):
            kept = json.loads(path.read_text(encoding="utf-8"))
            self._ports |= {name: port for name, port in kept.items() if isinstance(port, int)}

    def take(self, name: str, *, silent: bool = False, with_grpc: bool = False) -> int:
        """The port of ``name``: the same as ever, or another one, said aloud and remembered, when that is taken.

        ``silent`` is for ports that nobody but the parts of one server uses; ``with_grpc`` for those that need the port
        at the offset above them as well.
        """
        port = self._ports.get(name)
        if port is None or not (is_free_with_grpc(port) if with_grpc else is_free(port)):
            others = {taken for other, taken in self._ports.items() if other != name}
            [another] = free_ports(1, besides=others)
            if port is not None and not silent:
                self._say(f"Port {port} for {name} is taken by another program; {name} is on {another} from now on.")
            self._ports[name] = another
        self._path.write_text(json.dumps(self._ports, indent=2) + "\n", encoding="utf-8")
        return self._ports[name]
