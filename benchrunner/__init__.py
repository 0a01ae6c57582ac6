"""benchrunner runs language-model benchmark phases over shared, rate-limited API keys."""

__version__ = "0.1.0"
