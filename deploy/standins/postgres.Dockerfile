# Stands in for postgres:16.6-alpine where no registry can be reached. For rehearsals alone.
ARG PYTHON_IMAGE=python:3.14.10-slim-trixie
FROM ${PYTHON_IMAGE}
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends postgresql \
 && groupmod -g 70 postgres \
 && usermod -u 70 -g 70 postgres \
 && ln -s /usr/lib/postgresql/*/bin /opt/postgresql \
 && install -d -m 700 -o 70 -g 70 /var/lib/postgresql/data
COPY postgres-entry.sh /entry.sh
ENV PATH=/opt/postgresql:/usr/local/bin:/usr/bin:/bin
VOLUME /var/lib/postgresql/data
ENTRYPOINT ["sh", "/entry.sh"]
