# Stands in for prom/prometheus:v2.55.1 where no registry can be reached. For rehearsals alone.
ARG PYTHON_IMAGE=python:3.14.10-slim-trixie
FROM ${PYTHON_IMAGE}
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends prometheus wget \
 && install -d -o 65534 -g 65534 /prometheus
VOLUME /prometheus
ENTRYPOINT ["prometheus"]
