"""What the console knows without asking Kafka: an embedded database that can be built again at any time."""
