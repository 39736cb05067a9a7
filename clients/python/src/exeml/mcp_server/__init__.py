"""The MCP server: assistants work in exeml with the rights of one token."""
