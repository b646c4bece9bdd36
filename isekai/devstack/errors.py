"""What stops a command of ``./dev``, worded for the person at the terminal."""


class DevstackError(Exception):
    """The message says what is wrong and, where we know it, what to do."""


class UsageError(DevstackError):
    """The command line cannot be understood."""


class Interrupted(BaseException):
    """A signal asked us to end. Like KeyboardInterrupt it is no Exception, so that no handler swallows it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
