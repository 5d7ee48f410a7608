"""Every fault of an upstream, at every door, has its one true outcome."""

from __future__ import annotations

import pytest

from tests.faults import matrix
from tests.faults.cases import FAULTS, Fault
from tests.faults.language import DOORS, Door


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
