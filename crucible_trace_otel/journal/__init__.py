"""Keep: every ended span and every returned step on this disk, and what was open when a process died.

What a journal is made of is documented in docs/journal-format.md. Where to look:

    the format      records, wire (protobuf without protobuf), layout (file names), files (what may fail)
    writing         processor (the seam to the SDK) -> encoder, keyvalues, repairing -> writer -> segment, appending
                    opening (spans that have not ended), ticking (each second)
    steps           ring, mapping, slots (rows that survive a kill), series (what a window says)
    reading         reader, liveness (does a writer live?)
    the dead        recovery -> restoring, progress, messages: the ends of what they left open
    what was sent   acks, accounting, facts
    the size limit  limit, kept
    of one trace    sizes: how much each trace of this process holds
"""
