"""Why a file is refused; the code is what a person's sentence is later made of."""

from typing import Any


class Refused(Exception):
    """The file itself is the reason: trying again cannot help.

    ``code`` is one of: `unknown_type`, `type_differs`, `damaged`, `too_many_pixels`, `too_many_frames`, `too_complex`,
    `no_video`. ``params`` are what its sentence names.
    """

    def __init__(self, code: str, **params: Any) -> None:
        super().__init__(code)
        self.code = code
        self.params = params


def damaged(detail: str) -> Refused:
    """A file that breaks the rules of its own format; ``detail`` is for the log and for support."""
    return Refused("damaged", detail=detail)
