"""A small OpenAI-compatible inference engine: paged KV cache, continuous batching, plain float32 torch.

It is the system the bench drives when no other is named, and one to read: `README.md` beside this file tells a
request's life in eight lines. It never imports the bench; the bench reaches it over HTTP like any other server.
"""
