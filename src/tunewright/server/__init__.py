"""Floor 4: the OpenAI API over HTTP, for releases."""
