"""Exceptions that a signal handler of the program raises while our code runs: a limit of time, as tests have it.

They belong to the program, whose handler was called wherever it was, and go on through our code as Ctrl-C does.
"""

import inspect
import signal
from contextlib import suppress
from types import FrameType

__all__ = ["is_from_handler", "let_through"]


def is_from_handler(error: BaseException) -> bool:
    """Whether a signal handler of the program raised `error` in the midst of our code. Never raises.

    Python calls a handler with the number of the signal and with the frame that it interrupts, which is its caller.
    """
    trace = error.__traceback__
    while trace is not None:
        with suppress(Exception):
            if _is_handler(trace.tb_frame):
                return True
        trace = trace.tb_next
    return False


def let_through(error: Exception) -> None:
    """Raise `error` again if it is one of those: to be called where any other exception is dealt with.

    Raises:
        Exception: That one.
    """
    if is_from_handler(error):
        raise error


def _is_handler(frame: FrameType) -> bool:
    interrupted = frame.f_back
    code = frame.f_code
    if interrupted is None:
        return False
    number = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
    given = [frame.f_locals[name] for name in code.co_varnames[:number] if name in frame.f_locals]
    given += [each for value in given if type(value) is tuple for each in value]
    has_frame = any(value is interrupted for value in given)
    return has_frame and any(isinstance(value, int) and 0 < value < signal.NSIG for value in given)
