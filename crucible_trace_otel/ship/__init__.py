"""Sending: what the journal holds goes to a collector by OTLP, from a process that outlives the one that recorded it.

The standard library alone, `grpcio` apart where spans are sent by gRPC. Where to look:

    who sends       lease, claim (where to, and whose word counts); launch -> __main__ (a process), thread
    the loop        loop -> watch (the writers, and the ends of the dead) -> syncing (to the disk itself)
                    following (one segment) -> ranks (whose spans are sent) -> batches
    a request       destination, http, grpc; answers (what a reply means), reduction (a span made smaller)
    what is said    telling (how it goes now), log
"""
