"""Every fault of an upstream, at every door, has its one true outcome."""

from __future__ import annotations

import pytest

from tests.faults import matrix
from tests.faults.cases import FAULTS, Fault
from tests.faults.language import DOORS, Door

PROMISED = {
    # What the matrix was promised to have, and which of it is a matter of streams alone.
    "connection refused": True,
    "DNS failure": True,
    "TLS failure": True,
    "accept and never answer": True,
    "headers and then silence": True,
    **{str(status): True for status in (400, 401, 403, 404, 408, 409, 500, 502, 503, 529)},
    "429 without Retry-After": True,
    "429, Retry-After: 7": True,
    "429, Retry-After: Sat, 21 Nov 2037 07:00:00 GMT": True,
    "429, retry-after-ms: 150": True,
    "429, Retry-After: 99999999999999999999": True,
    "HTML with 200": True,
    "JSON error with 200": True,
    "empty 200": True,
    "slow first byte": True,
    "stall mid-stream": True,
    "cut cleanly": True,
    "cut by reset": True,
    "cut inside a frame": False,
    "cut inside a character": True,
    "missing terminator": False,
    "a garbage line": True,
    "one event of 10 MB": True,
    "events after the end": False,
    "wrong content type": True,
    "wrong content length: more than comes": True,
    "wrong content length: less than comes": True,
    "gzip when not asked": True,
    "a redirect": True,
    "endless stream": True,
    "content-filter refusal": True,
    "empty completion": True,
    "duplicated finish": False,
}


def test_every_fault_that_was_promised_is_in_the_matrix() -> None:
    known = {fault.name: fault for fault in FAULTS}
    for name, whole in PROMISED.items():
        assert known[name].stream is not None, name
        assert (known[name].whole is not None) == whole, name


@pytest.mark.parametrize("route", ["alone", "fallback"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "one-shot"])
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_has_its_one_true_outcome(
    fault: Fault, door: Door, stream: bool, route: matrix.Route
) -> None:
    if (fault.stream if stream else fault.whole) is None:
        # There is no such thing as a stall in the middle of a body that comes at once.
        return
    await matrix.run(fault, door, stream=stream, route=route)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@pytest.mark.parametrize(
    "fault",
    [fault for fault in FAULTS if matrix.applies(fault, stream=True, route="resume")],
    ids=lambda fault: fault.name,
)
async def test_a_fault_in_mid_stream_is_gone_on_from(fault: Fault, door: Door) -> None:
    await matrix.run(fault, door, stream=True, route="resume")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "one-shot"])
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@pytest.mark.parametrize(
    "fault",
    [fault for fault in FAULTS if matrix.applies(fault, stream=True, route="hedge")],
    ids=lambda fault: fault.name,
)
async def test_a_silent_fault_is_hedged(fault: Fault, door: Door, stream: bool) -> None:
    if matrix.applies(fault, stream=stream, route="hedge"):
        await matrix.run(fault, door, stream=stream, route="hedge")
