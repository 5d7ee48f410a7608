# The classifier: docker build -f deploy/classifier.Dockerfile -t pointsman/classifier:0.1.0 .
ARG PYTHON_IMAGE=python:3.14.10-slim-trixie

FROM ${PYTHON_IMAGE} AS packages
WORKDIR /build
COPY requirements/run.txt requirements/no-deps.txt deploy/subset.py deploy/sbom.py ./
# tokenizers names a hub's client that serving never imports, so pip check would mind its absence.
RUN python subset.py classifier . > wanted.txt \
 && python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r wanted.txt \
 && /venv/bin/pip uninstall --yes --quiet pip setuptools \
 && python sbom.py pointsman-classifier 0.1.0 /venv/lib/python3.*/site-packages > /sbom.cdx.json

FROM scratch AS sbom
COPY --from=packages /sbom.cdx.json /

FROM ${PYTHON_IMAGE} AS classifier
RUN useradd --system --uid 10001 --user-group --home-dir /data --create-home --shell /usr/sbin/nologin pointsman
WORKDIR /app
COPY --from=packages /venv /venv
COPY --from=packages /sbom.cdx.json ./
COPY LICENSE ./
COPY deploy/healthy.py deploy/healthy.py
COPY models models
COPY classifier classifier
RUN python -m compileall -q .
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    CLASSIFIER_HOST=0.0.0.0 \
    CLASSIFIER_PORT=8000 \
    CLASSIFIER_WORKERS=4 \
    CLASSIFIER_MODELS=/data/models
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=60s --retries=3 \
  CMD ["python", "deploy/healthy.py", "http://127.0.0.1:8000/healthz"]
ENTRYPOINT ["python", "-m", "classifier"]
CMD ["serve"]
