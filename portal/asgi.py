"""The web process: uvicorn serves this application."""

import os
import warnings

# Before the settings are read: a web process uses the connection pool, workers and commands do not.
os.environ.setdefault("PORTAL_PROCESS", "web")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

from django.core.asgi import get_asgi_application

# whitenoise answers with a plain iterator; Django reads it in a thread, which is what we want of a small file.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

application = get_asgi_application()
