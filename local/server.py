"""llama.cpp's own server inside this process, set up for a small machine."""

import errno
import socket
import time
from typing import Any

from local.settings import Settings
from local.weights import Weights

LOG_IS_OUT_S = 0.2


class ServerError(Exception):
    """The model cannot be served; the message says why."""


def start(settings: Settings, weights: Weights) -> Any:
    """Load the weights and answer at `host`; the server lives as long as the object returned.

    Routes: POST /v1/chat/completions (JSON or SSE), GET /v1/models, /health, /metrics.
    A caller who hangs up frees his slot at the next token. llama.cpp reads a prompt to its end
    first (about 200 tokens a second on one thread), and an answer that is not streamed too.

    Raise ServerError when xllamacpp, or a library that it is linked with, is absent, the port is
    taken or the file is no model.
    """
    try:
        import xllamacpp
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError):
            raise ServerError(
                f"The embedded model cannot be loaded ({error}): install what has that file "
                "(Debian: libgomp1), or run without it (LOCAL_MODEL=off)."
            ) from None
        raise ServerError(
            f"The embedded model needs xllamacpp ({error}): "
            "pip install 'xllamacpp>=2026.10,<2027', or run without it (LOCAL_MODEL=off)."
        ) from None
    _refuse_a_taken_port(settings.host, settings.port)
    try:
        return xllamacpp.Server(_parameters(xllamacpp.CommonParams(), settings, weights))
    except RuntimeError:
        # Its log is written by a thread of its own, which would cut our line in two.
        time.sleep(LOG_IS_OUT_S)
        raise ServerError(
            f"llama.cpp cannot serve {weights.path}: the lines above say why."
        ) from None


def _parameters(params: Any, settings: Settings, weights: Weights) -> Any:
    params.model.path = str(weights.path)
    params.model_alias = {weights.model_id}
    params.hostnames = [settings.host]
    params.port = settings.port
    params.n_parallel = settings.parallel
    params.n_ctx = settings.context * settings.parallel
    params.cpuparams.n_threads = settings.threads
    params.cpuparams_batch.n_threads = settings.threads
    # A long prompt is read in pieces, so the other conversation keeps getting tokens meanwhile.
    params.n_batch = params.n_ubatch = 128
    # By default old prompts are kept in up to 8 GiB; a slot's own last prompt is reused anyway.
    params.cache_ram_mib = 0
    # By default any web page may read the answers.
    params.cors_origins = ""
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_metrics = True
    params.verbosity = 3 if settings.debug else 1
    if weights.embedded:
        # The model card's own values; at llama.cpp's 0.8 so small a model talks at random.
        # Where nobody says how much: now and then so small a model finds no end.
        params.n_predict = 400
        params.sampling.temp = 0.2
        params.sampling.top_p = 0.9
    return params


def _refuse_a_taken_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error})"
            raise ServerError(f"Port {port} {why}. Set LOCAL_PORT to a free one.") from None
