"""How bots and users write commands, prompts and mentions. docs/data_formats.md lists the dialects.

Every pattern takes time that grows linearly with the text: a message may hold megabytes.
"""
