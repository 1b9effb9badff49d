from tests.senders.conftest import sms_fake

__all__ = ["sms_fake"]
