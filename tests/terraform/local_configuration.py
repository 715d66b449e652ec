"""Puts an example's configuration onto this machine: reads it from stdin, writes it to stdout.

Only where it listens, keeps its log and finds AWS is another; sources and sinks stay as they are. Two free
ports are taken, and their addresses written to DIRECTORY/http and DIRECTORY/admin.

    local_configuration.py DIRECTORY AWS_ENDPOINT
"""

import os
import socket
import sys

import yaml

directory, endpoint = sys.argv[1:]
configuration = yaml.safe_load(sys.stdin)
# Both are held until both are known, so that they are two.
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
for name, listener in zip(("http", "admin"), held):
    address = "127.0.0.1:%d" % listener.getsockname()[1]
    configuration[name]["listen"] = address
    with open(os.path.join(directory, name), "w") as file:
        file.write(address)
configuration["spool"]["dir"] = os.path.join(directory, "spool")
configuration["spool"]["free_bytes_min"] = 0
configuration["aws"]["endpoint"] = endpoint
yaml.safe_dump(configuration, sys.stdout, sort_keys=False)
