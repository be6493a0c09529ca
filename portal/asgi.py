"""The web process: uvicorn serves this application."""

import os
import resource
import warnings

# Before the settings are read: a web process uses the connection pool, workers and commands do not.
os.environ.setdefault("PORTAL_PROCESS", "web")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.core.asgi import get_asgi_application

# whitenoise answers with a plain iterator; Django reads it in a thread, which is what we want of a small file.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

# Each live page holds a socket, and 1,024 files are a common limit: as many as this process may have, within reason.
MOST_FILES = 65_536
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_wanted = MOST_FILES if _hard == resource.RLIM_INFINITY else min(_hard, MOST_FILES)
if _soft != resource.RLIM_INFINITY and _soft < _wanted:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_wanted, _hard))

application = get_asgi_application()
