"""Meterhouse, a self-hosted usage-metering server."""
