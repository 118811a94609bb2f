# The server alone: `api` unless told otherwise, and every other command of `meterhouse` by its name.
ARG PYTHON=python:3.13.16-slim-trixie@sha256:bf44cdfcb76cd3b41e879bc058fc37ec5872002ccfde7fcb765e218cde0cd79c

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.lock requirements-build.lock ./
# Wheels only: nothing is compiled, so nothing that compiles is needed. The environment has no pip of its own.
RUN python -m venv --without-pip /opt/meterhouse \
 && pip --python /opt/meterhouse install --only-binary :all: --require-hashes -r requirements.lock \
 && pip install --only-binary :all: --require-hashes -r requirements-build.lock
COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && pip --python /opt/meterhouse install --no-deps dist/*.whl

FROM ${PYTHON}
# A volume that is mounted on one of these folders for the first time takes over its owner and its mode.
RUN pip uninstall --yes pip \
 && groupadd --gid 10001 meterhouse \
 && useradd --uid 10001 --gid meterhouse --home-dir / --no-create-home --shell /usr/sbin/nologin meterhouse \
 && install -d -o meterhouse -g meterhouse -m 0700 /var/lib/meterhouse \
 && install -d -o meterhouse -g meterhouse -m 0755 /secrets/database \
 && install -d -o meterhouse -g meterhouse -m 0700 /secrets/server
COPY --from=build /opt/meterhouse /opt/meterhouse
ENV PATH=/opt/meterhouse/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    METERHOUSE_DATA_DIR=/var/lib/meterhouse \
    METERHOUSE_HOST=0.0.0.0 \
    METERHOUSE_PORT=8000
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"METERHOUSE_PORT\"]}/readyz', timeout=4)"]
ENTRYPOINT ["meterhouse"]
CMD ["api"]
