"""Which accelerators a run uses, where a loaded library knows already: nothing is imported or woken up for it."""

import sys
from typing import Any

from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["hardware_facts"]


def _nothing_known() -> dict[str, Any]:
    return {}


@guarded(_nothing_known)
def hardware_facts() -> dict[str, Any]:
    """Kind, model, vendor and number of the GPUs that torch uses; empty before the program itself has used one."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not getattr(cuda, "is_initialized", bool)():
        return {}
    is_amd = getattr(getattr(torch, "version", None), "hip", None) is not None
    return {
        attr.HW_TYPE: "gpu",
        attr.HW_MODEL: cuda.get_device_name(cuda.current_device()),
        attr.HW_VENDOR: "AMD" if is_amd else "NVIDIA",
        attr.CRUCIBLE_DEVICE_COUNT: cuda.device_count(),
    }
