"""In which order stages run: that of the plan, but for those that must come after others."""

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush

__all__ = ["find_cycle", "run_order"]


def run_order(after: Mapping[str, Sequence[str]]) -> list[str]:
    """The names in the order in which they run: each time the first one that waits for nothing any more.

    Args:
        after: Each name, in the order of the plan, with those that must come before it; unknown ones are left out.

    Raises:
        ValueError: Some of them wait for each other: see `find_cycle`.
    """
    names = list(after)
    waits_for = {name: {other for other in others if other in after} for name, others in after.items()}
    before: dict[str, list[int]] = {name: [] for name in names}
    for place, name in enumerate(names):
        for other in waits_for[name]:
            before[other].append(place)
    ready = [place for place, name in enumerate(names) if not waits_for[name]]
    heapify(ready)
    order: list[str] = []
    while ready:
        following = names[heappop(ready)]
        order.append(following)
        for place in before[following]:
            waits_for[names[place]].discard(following)
            if not waits_for[names[place]]:
                heappush(ready, place)
    if len(order) < len(names):
        raise ValueError(f"{' -> '.join(find_cycle(after))}: each waits for the next")
    return order


def find_cycle(after: Mapping[str, Sequence[str]]) -> list[str]:
    """Names each of which waits for the next, the first one again at the end; empty where there are none."""
    done: set[str] = set()
    for start in after:
        path = {start: True}
        branches = [iter(after[start])]
        while path:
            following = next(branches[-1], None)
            if following is None:
                done.add(path.popitem()[0])
                branches.pop()
            elif following in path:
                names = list(path)
                return [*names[names.index(following) :], following]
            elif following in after and following not in done:
                path[following] = True
                branches.append(iter(after[following]))
    return []
