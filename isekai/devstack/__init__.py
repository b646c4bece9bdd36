"""The local stack behind ``./dev``: embedded servers, our own processes, and the commands that need them.

Nothing here imports Django: the launcher starts fast and stays small, and what needs the settings runs as its child.
"""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
