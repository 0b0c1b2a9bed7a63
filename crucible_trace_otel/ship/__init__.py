"""Sending: what the journal holds goes to a collector by OTLP, from a process that outlives the one that recorded it.

The standard library alone, `grpcio` apart where spans are sent by gRPC.
"""
