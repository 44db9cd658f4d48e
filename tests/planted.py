"""Code that tests plant where an attacker's would run: in a worker of the inspector, and in a program that one asks.

Who uses it: test_inspector and test_tools, as the beginning of a source text that runs in the confined process.
"""

ATTEMPT = '''
import os

def attempt(what):
    """The error that the system answers *what* with, by its number, or "done"."""
    try:
        what()
    except OSError as error:
        return str(error.errno)
    return "done"

def fork():
    if os.fork() == 0:
        os._exit(0)
'''
"""Source of ``attempt`` and ``fork``."""
