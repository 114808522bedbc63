"""What a team would build instead: task queues, each in its durable setting."""
