"""A stand-in for AUTOMATIC1111's WebUI v1.10.1: the same HTTP interface, drawn pictures, no GPU.

A separate program (`python -m standin …`) that takes the WebUI's own command line. It imports nothing from the worker:
the two only share HTTP. It answers as the real one was measured to answer, the bad sides included, and has faults that
can be switched on (`STANDIN_FAULTS`, `POST /standin/faults`). Its pictures are drawn, not diffused.
"""

VERSION = "v1.10.1"
"""The release of the WebUI that is imitated."""
