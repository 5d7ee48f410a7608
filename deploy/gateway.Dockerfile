# The gateway: docker build -f deploy/gateway.Dockerfile -t pointsman/gateway:0.1.0 .
# What is inside: docker build -f deploy/gateway.Dockerfile --target sbom -o . .
ARG PYTHON_IMAGE=python:3.14.10-slim-trixie
ARG PAGE_IMAGE=node:20.19.5-bookworm-slim

# The page, where the tree has one; the gateway does without it.
FROM ${PAGE_IMAGE} AS page
WORKDIR /page
COPY LICENSE web* ./
RUN if [ -f package.json ]; then npm ci --no-audit --no-fund && npm run build; else mkdir dist; fi

FROM ${PYTHON_IMAGE} AS packages
WORKDIR /build
COPY requirements/run.txt requirements/no-deps.txt deploy/subset.py deploy/sbom.py ./
RUN python subset.py gateway . > wanted.txt \
 && python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r wanted.txt \
 && /venv/bin/pip check \
 && /venv/bin/pip uninstall --yes --quiet pip setuptools \
 && python sbom.py pointsman-gateway 0.1.0 /venv/lib/python3.*/site-packages > /sbom.cdx.json

FROM scratch AS sbom
COPY --from=packages /sbom.cdx.json /

FROM ${PYTHON_IMAGE} AS gateway
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin pointsman
WORKDIR /app
COPY --from=packages /venv /venv
COPY --from=packages /sbom.cdx.json ./
COPY --from=page /page/dist web/dist
COPY LICENSE gateway.toml ./
COPY deploy/healthy.py deploy/healthy.py
COPY chat chat
COPY dialects dialects
COPY providers providers
COPY gateway gateway
RUN python -m compileall -q . && install -d -o 10001 -g 10001 var
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8080 \
    LOG_FORMAT=json
USER 10001:10001
VOLUME /app/var
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s --retries=3 \
  CMD ["python", "deploy/healthy.py", "http://127.0.0.1:8080/readyz"]
ENTRYPOINT ["python", "-m", "gateway"]
