from tests.usage_engine import account, stranger, untouched  # noqa: F401 - fixtures
