"""`python -m local`: serve the embedded model until TERM or Ctrl-C."""

import os
import signal
import sys
import time

from local import server, settings, weights

STOP = {signal.SIGTERM, signal.SIGINT}


def main() -> None:
    """Exit 0 after TERM or INT, 1 with one plain line when the model cannot be served."""
    # Blocked before the first thread exists: a signal during loading waits for sigwait.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    began = time.monotonic()
    try:
        chosen = settings.Settings.from_environment()
        model = weights.choose(chosen.model_path)
        running = server.start(chosen, model)
    except (settings.SettingsError, weights.WeightsError, server.ServerError) as error:
        sys.exit(str(error))
    took = time.monotonic() - began
    sys.stdout.write(
        f"{model.model_id} on {running.listening_address}/v1 after {took:.1f} s: "
        f"{chosen.threads} thread{'s' if chosen.threads > 1 else ''}, "
        f"{chosen.parallel} x {chosen.context} tokens\n"
    )
    sys.stdout.flush()
    signal.sigwait(STOP)
    # The server's own end waits up to 30 s for a silent stream, and there is nothing to save.
    os._exit(0)


if __name__ == "__main__":
    main()
