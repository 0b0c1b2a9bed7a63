"""Sets that keep nothing alive."""

from __future__ import annotations

import gc

from crucible_trace_otel.record._living import Living


class One:
    """Anything."""


def test_what_nobody_holds_goes() -> None:
    living: Living[One] = Living()
    kept = One()
    for one in (kept, One(), kept):
        living.add(one)
    del one
    gc.collect()
    assert list(living) == [kept]


def test_what_is_added_while_it_is_looped_over_is_no_trouble() -> None:
    living: Living[One] = Living()
    held = [One(), One()]
    for one in held:
        living.add(one)
    found = []
    for one in living:
        found.append(one)
        held.append(One())
        living.add(held[-1])
    assert found == held[:2]
    assert list(living) == held
