# Stands in for Ollama's image where no registry can be reached: the binary of `make ollama`, which
# is older. For rehearsals alone.
ARG PYTHON_IMAGE=python:3.14.10-slim-trixie
FROM ${PYTHON_IMAGE}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends libstdc++6
COPY ollama /usr/bin/ollama
ENV OLLAMA_HOST=0.0.0.0:11434
EXPOSE 11434
ENTRYPOINT ["/usr/bin/ollama"]
CMD ["serve"]
