"""What the service does, in the words of the domain: plain values in, plain values out, refusals raised.

A face (gRPC, or another) reads its own form of a call into these values and writes the answer in its own form. Nothing
here knows a face.
"""
