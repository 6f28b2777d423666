"""The PostgreSQL server of these tests."""

from tests.postgres import dsn

__all__ = ["dsn"]
