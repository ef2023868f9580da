"""Send notifications: messages of the outbox to webhooks, Apprise and programs."""
