"""In which order stages run: that of the plan, but for those that must come after others."""

from collections.abc import Mapping, Sequence

__all__ = ["find_cycle", "run_order"]


def run_order(after: Mapping[str, Sequence[str]]) -> list[str]:
    """The names in the order in which they run: each time the first one that waits for nothing any more.

    Args:
        after: Each name, in the order of the plan, with those that must come before it; unknown ones are left out.

    Raises:
        ValueError: Some of them wait for each other: see `find_cycle`.
    """
    waiting = {name: {other for other in others if other in after} for name, others in after.items()}
    order: list[str] = []
    while waiting:
        following = next((name for name, others in waiting.items() if not others), None)
        if following is None:
            raise ValueError(f"{' -> '.join(find_cycle(after))}: each waits for the next")
        order.append(following)
        del waiting[following]
        for others in waiting.values():
            others.discard(following)
    return order


def find_cycle(after: Mapping[str, Sequence[str]]) -> list[str]:
    """Names each of which waits for the next, the first one again at the end; empty where there are none."""
    done: set[str] = set()
    for start in after:
        path = [start]
        branches = [iter(after[start])]
        while path:
            following = next(branches[-1], None)
            if following is None:
                done.add(path.pop())
                branches.pop()
            elif following in path:
                return [*path[path.index(following) :], following]
            elif following in after and following not in done:
                path.append(following)
                branches.append(iter(after[following]))
    return []
