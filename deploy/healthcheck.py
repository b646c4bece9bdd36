# ruff: noqa: INP001 - a script by itself
"""What a container asks itself: `python healthcheck.py PORT PATH`. Exit code 0: the process in it answers."""

import http.client
import sys


def main() -> int:
    port, path = int(sys.argv[1]), sys.argv[2]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"{path} on port {port}: {error}")
        return 1
    print(f"{path} on port {port}: {status}")
    # The S3 server answers 403 to whoever does not sign: it is well.
    return 0 if status < 300 or status == 403 else 1


if __name__ == "__main__":
    sys.exit(main())
