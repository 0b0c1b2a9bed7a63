"""The stages of one execution of a pipeline by name: which came when, which waits for which."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._links import each_target
from crucible_trace_otel.record._values import one_line
from crucible_trace_otel.semconv.enums import LinkType

if TYPE_CHECKING:
    from crucible_trace_otel.record.stages._stage import Stage

__all__ = ["StageOrder", "link_after"]

_MOST_NAMES = 1_000


class StageOrder:
    """The stages that have started, by name."""

    def __init__(self) -> None:
        self._started = 0
        self._latest: OrderedDict[str, Stage] = OrderedDict()

    def next_index(self) -> int:
        """The index of a stage that starts now."""
        self._started += 1
        return self._started - 1

    def take_in(self, stage: "Stage") -> None:
        """Know `stage`, which starts now, by its name from now on."""
        self._latest[stage.about] = stage
        self._latest.move_to_end(stage.about)
        while len(self._latest) > _MOST_NAMES:
            self._latest.popitem(last=False)

    def latest(self, name: object) -> "Stage | None":
        """The stage of that name that started last; None where there is none."""
        return self._latest.get(one_line(name))

    def cycle_of(self, stage: "Stage", names: Iterable[str]) -> list[str]:
        """Event ids of the stages by which `stage`, which is to come after those called `names`, waits for itself."""
        came_from: dict[str, str] = {}
        waiting = [name for name in names if name in self._latest]
        while waiting:
            name = waiting.pop()
            after = self._latest[name]._after_names if name in self._latest else ()
            if name in self._latest and stage.about in self._latest[name]._missed:
                path = [name]
                while path[-1] in came_from:
                    path.append(came_from[path[-1]])
                between = [self._latest[step].event_id for step in reversed(path)]
                return [stage.event_id, *between, stage.event_id]
            for further in after:
                if further not in came_from and further != name:
                    came_from[further] = name
                    waiting.append(further)
        return []


def link_after(stage: "Stage", order: StageOrder | None, after: Any) -> None:
    """Link `stage`, which starts now, to what it comes after: stages of its pipeline by name, or records."""
    names: list[str] = []
    missed: list[str] = []
    for target in each_target(after):
        if not isinstance(target, str):
            stage._causes.add(stage.event_id, LinkType.DEPENDS_ON, target)
            continue
        name = one_line(target)
        names.append(name)
        found = None if order is None else order.latest(name)
        if found is not None:
            stage._causes.add(stage.event_id, LinkType.DEPENDS_ON, found)
        else:
            stage._causes.unknown.append(name)
            warn_once(
                f"after {name}",
                f"after={name!r}: no stage of that name has started in the pipeline around {stage.about!r}. The name "
                "is kept; pass a stage that has started, or the record itself.",
            )
            missed.append(name)
    stage._after_names, stage._missed = tuple(names), tuple(missed)
    cycle = [] if order is None else order.cycle_of(stage, names)
    if cycle and not stage._causes.cycle:
        stage._causes.cycle = cycle
        warn_once(f"cycle {stage.about}", f"The stage {stage.about!r} is to come after itself: kept, and marked.")
