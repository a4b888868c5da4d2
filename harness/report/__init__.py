"""report.html: one self-contained file that explains a run.

`page` gathers the data and renders the template, `charts` draws latency and rate, `picture` the
witness.
"""
