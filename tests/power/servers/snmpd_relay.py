"""What snmpd's pass_persist starts: carries its questions to the test's process and the answers back.

Run as `python snmpd_relay.py PORT`; stdin and stdout speak the protocol of snmpd.conf(5), pass_persist.
"""

import socket
import sys


def main() -> None:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as line, line.makefile("rw") as test:
        for command in iter(sys.stdin.readline, ""):
            if command.strip() == "PING":
                answer = "PONG\n"
            else:
                test.write(sys.stdin.readline())
                test.flush()
                answer = "".join(test.readline() for _ in range(3)) if command.strip() == "get" else "NONE\n"
                answer = "NONE\n" if answer.startswith("NONE") else answer
            sys.stdout.write(answer)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
