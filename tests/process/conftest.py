"""Fixtures of the process tests; process_kit.py says what they are."""

from process_kit import strict_provider, workspace

__all__ = ["strict_provider", "workspace"]
