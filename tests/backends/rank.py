"""One rank of a run: it works, waits for the others at an address, and records; its clock is wrong if SKEW says so."""

import os
import socket
import time


def skew_the_clock(said: str) -> None:
    """Be ahead by some seconds, and by some more for each second since a time.

    That of records only: what sends them, another process here, knows this one by the time of the machine's start.
    """
    offset, drift, since = said.split()
    true_ns, true_counter_ns = time.time_ns, time.perf_counter_ns

    def wrong_ns() -> int:
        now = true_ns()
        return now + round(float(offset) * 1e9 + float(drift) * (now - int(since)))

    def wrong_counter_ns() -> int:
        now = true_counter_ns()
        return now + round(float(drift) * now)

    time.time_ns, time.perf_counter_ns = wrong_ns, wrong_counter_ns


def main() -> None:
    """Train, as far as the others can tell."""
    import crucible_trace_otel as crucible

    host, port = os.environ["MEETING"].split(":")
    others = socket.create_connection((host, int(port)), timeout=60)

    def meet() -> None:
        others.sendall(b".")
        assert others.recv(1) == b"."

    crucible.configure(service_name="ranks")
    with crucible.training_run("in namespaces", run_id=os.environ["RUN"]) as run:
        meet()  # so that all have begun
        for epoch in run.epochs(8):
            for _ in range(5):
                time.sleep(float(os.environ["WORK"]))
                with epoch.collective("all_reduce"):
                    meet()
                epoch.record_step(loss=1.0)
            with epoch.barrier():
                meet()
    report = crucible.flush(30)
    assert report, report


if __name__ == "__main__":
    skew_the_clock(os.environ["SKEW"])
    main()
