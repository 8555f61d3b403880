"""The engine behind an OpenAI-compatible HTTP server. What a request asks is done or refused, never ignored."""
