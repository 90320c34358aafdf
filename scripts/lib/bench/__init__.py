"""The bench: each figure beside a floor of the same run. A lone time means nothing on a shared machine.

Everything runs on embedded servers in temporary directories, with the library's default settings unless a module says
otherwise. docs/performance.md says what is measured, how, and what came of it.
"""
