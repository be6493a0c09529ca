# The portal's image (target `portal`, the last one) and the simulator's (target `simulator`).
# Both run as user 10001 and need no place to write but /tmp.

FROM node:24-slim AS icons
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev

FROM python:3.12-slim AS packages
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements.lock

# The simulator makes its own certificates; the one package it needs for that is locked with the development tools.
FROM packages AS simulator-packages
COPY requirements-dev.lock ./
RUN awk '/^[a-z]/ {wanted = /^trustme==/} wanted' requirements-dev.lock > simulator.lock \
 && pip install --no-cache-dir --no-deps --require-hashes --requirement simulator.lock

FROM python:3.12-slim AS base
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN groupadd --gid 10001 portal && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp portal
WORKDIR /app

FROM base AS code
COPY --from=packages /opt/venv /opt/venv
COPY manage.py ./
COPY deploy/healthcheck.py deploy/
COPY local_stack local_stack
COPY tenants tenants
COPY vplus_bridge vplus_bridge
COPY portal portal
COPY templates templates
COPY static static
RUN python -m compileall -q .

# Static files are collected once, here; no secret and no server is needed for that, only words in their place.
FROM code AS collected
COPY --from=icons /build/node_modules node_modules
RUN python -m local_stack.assets \
 && SECRET_KEY=only-while-files-are-collected-000000 \
    DATABASE_URL=postgresql://portal@localhost/portal REDIS_URL=redis://localhost/0 \
    VPLUS_URL=https://localhost/api VPLUS_USERNAME=nobody VPLUS_PASSWORD=nobody \
    STATIC_ROOT=/collected python manage.py collectstatic --no-input --verbosity 0

FROM base AS simulator
COPY --from=simulator-packages /opt/venv /opt/venv
COPY vplus_simulator vplus_simulator
RUN python -m compileall -q . && install -d -o portal -g portal -m 0755 /tls /state
USER 10001:10001
EXPOSE 8181
CMD ["python", "-m", "vplus_simulator", "--host", "0.0.0.0", "--port", "8181", "--tls-dir", "/tls", "--state", "/state/world"]

FROM code AS portal
COPY --from=collected /collected /collected
ENV STATIC_ROOT=/collected
USER 10001:10001
EXPOSE 8000
CMD ["uvicorn", "portal.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--lifespan", "off", "--timeout-graceful-shutdown", "5", "--no-access-log"]
