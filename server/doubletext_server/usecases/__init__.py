"""The use cases: what the service does, in terms of the domain. They take and return plain values, and raise refusals.

A face, such as gRPC, turns a call into these values, and turns what is returned into its own form of an answer. Nothing
here knows a face.
"""
