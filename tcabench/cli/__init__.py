"""The command line: commands parse, call one function, show its result, exit."""
