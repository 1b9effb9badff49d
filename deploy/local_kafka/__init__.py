"""A real Apache Kafka on this machine: Java 17 and Maven, no Docker. ``python -m deploy.local_kafka up``."""

from deploy.local_kafka.cluster import LocalKafka
from deploy.local_kafka.jars import LocalKafkaError
from deploy.local_kafka.listeners import Listener

__all__ = ["Listener", "LocalKafka", "LocalKafkaError"]
