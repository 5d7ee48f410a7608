"""Every fault of an upstream, at every door, has its one true outcome."""

from __future__ import annotations

import pytest

from tests.faults import matrix
from tests.faults.cases import FAULTS, Fault
from tests.faults.language import DOORS, Door


@pytest.mark.parametrize("fallback", [False, True], ids=["alone", "with a fallback"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "one-shot"])
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_has_its_one_true_outcome(
    fault: Fault, door: Door, stream: bool, fallback: bool
) -> None:
    if (fault.stream if stream else fault.whole) is None:
        # There is no such thing as a stall in the middle of a body that comes at once.
        return
    await matrix.run(fault, door, stream=stream, fallback=fallback)
