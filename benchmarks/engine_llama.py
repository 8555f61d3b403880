"""llama-cpp-python's server, run with its own interpreter, with one thing changed: no token ends an answer.

`ignore_eos` is no field of this server. A logit bias on the end tokens would do the same, but it runs in Python for
every token and makes this server slower than it is.
"""

import llama_cpp
from llama_cpp.server.__main__ import main


def _never(vocab: object, token: int) -> bool:
    return False


llama_cpp.llama_vocab_is_eog = _never

if __name__ == "__main__":
    main()
