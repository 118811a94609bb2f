"""The command line of `meterhouse conformance`; apart from the checks, so that other commands start without them."""

import argparse
from pathlib import Path

WALKS = ("meter-types", "meters", "collectors", "streams", "bucket-meters", "events", "usage")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base-url", metavar="URL", help="default: METERHOUSE_BASE_URL")
    parser.add_argument(
        "--credentials",
        metavar="FILE",
        type=Path,
        help="JSON with clientId, clientSecret, audience, apiKey, as the first start writes it; default: that file",
    )
    for name in ("client-id", "client-secret", "audience", "api-key"):
        parser.add_argument(f"--{name}")
    parser.add_argument(
        "--bucket", metavar="BUCKET_ID", help="send events into this one; default: a new one, deleted again"
    )
    parser.add_argument("--only", nargs="+", choices=WALKS, metavar="PART", help=f"of {', '.join(WALKS)}")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
