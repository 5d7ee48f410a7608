# Stands in for redis:7.4.2-alpine where no registry can be reached. For rehearsals alone.
ARG PYTHON_IMAGE=python:3.14.10-slim-trixie
FROM ${PYTHON_IMAGE}
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends redis-server \
 && install -d -o 999 -g 1000 /data
WORKDIR /data
VOLUME /data
