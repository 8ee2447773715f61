"""Resolve names that lead to the real world or to the simulated one.

A parameter such as ``export`` or ``judge`` is the path of a real file, or a name such as
``"miniature"``. This module is the only one that knows both worlds: every other module takes files
or objects, and no chapter of the kit imports the miniature.
"""
