"""Ask the web server of this container whether it lives; exit status 0 where it does. For docker-compose.yml."""

import http.client
import os
import sys
from urllib.parse import urlsplit


def main() -> int:
    """Ask under the name that people use, since other names are refused (ALLOWED_HOSTS)."""
    name = urlsplit(os.environ.get("PORTAL_BASE_URL", "http://localhost:8000")).netloc
    connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=4)
    try:
        connection.request("GET", "/healthz", headers={"Host": name})
        return 0 if connection.getresponse().status == http.client.OK else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
