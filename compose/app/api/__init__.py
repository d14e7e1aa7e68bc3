"""The Python API: what `import pycompose` exports, each name imported when it is first used.

`projects` has the blocking calls, `coroutines` (`pycompose.aio`) the same ones to be awaited.
"""
