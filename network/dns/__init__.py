"""Names of containers: messages, a zone of endpoints as each of them sees it, and the resolver that serves them."""
