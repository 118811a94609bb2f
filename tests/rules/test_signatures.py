import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from meterhouse.rules.signatures import read_key, sign, write_secret

KEY = bytes(range(32))


def test_the_signature_of_the_specifications_example():
    """From github.com/standard-webhooks: the vectors that its libraries test with."""
    key = read_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_several_keys_sign_each_and_any_verifies():
    now = datetime.now(UTC)
    keys = [KEY, bytes(24)]
    body = '{"ö": 1}'
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp()))}
    headers["webhook-signature"] = sign(keys, "msg_1", int(now.timestamp()), body.encode())
    for key in keys:
        assert Webhook(write_secret(key)).verify(body, headers) == {"ö": 1}


def test_a_secret_reads_as_it_was_written():
    for length in (24, 32, 64):
        assert read_key(write_secret(KEY[:1] * length)) == KEY[:1] * length


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        write_secret(bytes(23)),
        write_secret(bytes(65)),
        base64.b64encode(KEY).decode(),
        "whsec_" + base64.b64encode(KEY).decode().rstrip("="),
        "whsec_" + base64.b64encode(KEY).decode() + "\n",
        "whsec_" + "ä" * 40,
    ],
)
def test_other_secrets_are_refused_without_being_quoted(secret):
    with pytest.raises(ValueError, match="24 to 64 bytes") as refused:
        read_key(secret)
    assert len(secret) < 10 or secret not in str(refused.value)
