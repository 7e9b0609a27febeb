"""``kong-scim demo``: plays the main job over HTTP, on the sandbox or on any gateway."""
