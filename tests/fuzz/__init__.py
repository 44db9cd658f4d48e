"""Fuzzing of our own parsers: a table of targets, a runner with atheris, and a small form for every test run."""
