"""The Python client, its command line and its MCP server, against real servers."""
