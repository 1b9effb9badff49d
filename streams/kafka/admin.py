"""An admin client that says why the brokers don't answer. librdkafka's calls report "transport failure" in
the end, whatever it was; the cause (a wrong password, an unknown authority) is told to ``error_cb``."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

_PATIENCE = 5.0
"""Seconds after which a refusal is believed: a broker that is starting may not know its users yet."""
_SLICE = 2.0
"""Seconds between looks at what was heard meanwhile; one call waits for its whole time-out."""


class Admin(AdminClient):
    """``config`` as for ``AdminClient``."""

    def __init__(self, config: Mapping[str, Any], *, logger: logging.Logger) -> None:
        heard: dict[str, Any] = {"error_cb": self._heard}
        super().__init__(dict(config) | heard, logger=logger)
        self._mechanism = str(config.get("sasl.mechanism", ""))
        self._refusal: tuple[int, str] | None = None

    def list_topics(self, topic: str | None = None, timeout: float = 30.0) -> Any:
        """As AdminClient's, but a refusal is not waited for until ``timeout`` is over.

        Raises KafkaException. What the brokers refuse, and what to check, is in an error with a code other
        than those of brokers that are away.
        """
        began = time.monotonic()
        while True:
            left = max(0.1, timeout - (time.monotonic() - began))
            try:
                return super().list_topics(topic, timeout=min(_SLICE, left))
            except KafkaException:
                self.poll(0)  # runs _heard
                waited = time.monotonic() - began
                if waited < timeout and not (self._refusal and waited > _PATIENCE):
                    continue
                if not self._refusal:
                    raise
                raise KafkaException(KafkaError(*self._refusal)) from None

    def _heard(self, error: Any) -> None:
        advice = self._advice(error.code(), error.str())
        if advice:
            code = KafkaError._SSL if error.code() == KafkaError._TRANSPORT else error.code()
            self._refusal = code, f"{error.str()}. {advice}"

    def _advice(self, code: int, text: str) -> str:
        """Empty: this error says nothing of its cause."""
        if code == KafkaError._AUTHENTICATION:
            what = "oauth_token_file" if self._mechanism == "OAUTHBEARER" else "sasl_user, sasl_password"
            return f"Check the settings sasl_mechanism, {what}"
        if code == KafkaError._SSL and "verif" in text:
            return (
                "Check that ssl_ca has the authority of the brokers' certificates, and that these are for "
                "the hosts that the setting broker names"
            )
        if code == KafkaError._SSL:
            return "Check the settings security_protocol, ssl_ca, ssl_cert, ssl_key"
        if "SSL alert" in text:
            return "The brokers may want a certificate of ours: set ssl_cert and ssl_key"
        return ""
