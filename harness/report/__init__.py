"""report.html: one self-contained file that explains a run.

`data` computes the document, `page` renders it, `charts` draws latency and rate, `picture` the
witness.
"""
