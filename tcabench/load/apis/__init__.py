"""How each HTTP API is spoken. Pure: a request in, a JSON body out; a payload in, events out."""

from tcabench.registry import Registry

APIS = Registry(
    "API",
    "tcabench.apis",
    {
        "chat": "tcabench.load.apis.chat:ChatApi",
        "completions": "tcabench.load.apis.completions:CompletionsApi",
    },
)
