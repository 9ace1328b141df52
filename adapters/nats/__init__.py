"""NATS JetStream: the log, the embedded server, the work queues."""
