"""Where nodes live.

`base` holds the protocol; `local` runs processes of this machine with every link through `proxy`;
`external` speaks to servers that somebody else runs.
"""
