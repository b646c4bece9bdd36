"""Run by Python itself in processes whose clocks are moved: lets them sleep under libfaketime.

Python sleeps until a moment of the monotonic clock (clock_nanosleep with TIMER_ABSTIME). libfaketime turns that into a
duration, a negative one where the moment has just passed, and the kernel answers EINVAL: web and beat died of it.
"""

import select
import time
from typing import SupportsIndex


def sleep(seconds: float | SupportsIndex) -> None:
    wanted = float(seconds)
    if wanted < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], wanted)


time.sleep = sleep
