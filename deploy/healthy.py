"""`python deploy/healthy.py URL`: exit code 0 when a GET gives 200 within three seconds.

Images without curl have no other way; this imports next to nothing, as it runs every few seconds.
"""

import http.client
import sys
from urllib.parse import urlsplit


def healthy(url: str) -> bool:
    """Whether the address answers 200."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=3)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if healthy(sys.argv[1]) else 1)
