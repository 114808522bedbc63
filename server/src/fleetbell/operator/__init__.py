"""The operator's door: everything about every application, as JSON under ``/api/v1``.

It is served on a Unix socket in the data folder only, so whoever may open that folder is the operator.
"""
