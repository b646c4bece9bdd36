# syntax=docker/dockerfile:1
# Two images: `isekai` (the default) runs every process of ours, `storage` is a small S3 server for installations that
# have none. Both run as a fixed user, need no write access outside /tmp and their volume, and hold no secret.
ARG PYTHON=3.13-slim-bookworm

# --- what both need --------------------------------------------------------------------------------------------------
FROM python:${PYTHON} AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/app/.venv/bin:$PATH
# A fixed number, so that the owner of a volume is the same in every build.
RUN groupadd --gid 10001 isekai \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin isekai
WORKDIR /app

FROM base AS build
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir uv==0.13.9
COPY pyproject.toml uv.lock ./

# --- the S3 server ---------------------------------------------------------------------------------------------------
FROM build AS build-storage
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --only-group storage

FROM base AS storage
COPY --from=build-storage /app/.venv .venv
COPY deploy/healthcheck.py ./
RUN install --directory --owner=isekai --group=isekai /data
VOLUME /data
USER 10001:10001
EXPOSE 8333
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s CMD ["python", "healthcheck.py", "8333", "/"]

# --- ours ------------------------------------------------------------------------------------------------------------
FROM build AS build-isekai
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --no-default-groups
COPY . .
# The settings want values; these are good for nothing else and stay behind in this stage.
RUN SECRET_KEY="$(python -c 'import secrets; print(secrets.token_hex(32))')" \
    ENCRYPTION_KEY="$(python -c 'import secrets; print(secrets.token_hex(32))')" \
    S3_SECRET_ACCESS_KEY="$(python -c 'import secrets; print(secrets.token_hex(16))')" \
    DEVIANTART_CLIENT_SECRET="$(python -c 'import secrets; print(secrets.token_hex(16))')" \
    REDIS_URL="redis://:$(python -c 'import secrets; print(secrets.token_hex(16))')@build.invalid" \
    ISEKAI_PUBLIC_URL=https://build.invalid DATABASE_URL=postgresql://build.invalid/none \
    S3_BUCKET_NAME=none S3_ACCESS_KEY_ID=none DEVIANTART_CLIENT_ID=none \
    python manage.py collectstatic --noinput \
 && python -m compileall -q accounts automations deviantart deviations isekai publisher

FROM base AS isekai
# Owned by root: the processes cannot change their own code.
COPY --from=build-isekai /app /app
# Else each of many threads gets memory of its own to keep, which never comes back.
ENV ISEKAI_ENV=production \
    MALLOC_ARENA_MAX=2
USER 10001:10001
EXPOSE 4000 8000
# For web; docker-compose.yml asks the workers on their own port.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["python", "deploy/healthcheck.py", "4000", "/health"]
CMD ["gunicorn", "isekai.wsgi", "-b", "0.0.0.0:4000", "-k", "gthread", "--threads", "8", "--no-control-socket", "--graceful-timeout", "20"]
