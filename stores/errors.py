"""What can be wrong with a store. Bad input is a `ValueError` or `TypeError`, not one of these."""


class StoreError(RuntimeError):
    """A store cannot do what was asked; the message states the rule, what was got, the remedy."""


class NotAStoreError(StoreError):
    """The folder is not a store, or one of a format version that this release does not know."""


class CorruptStoreError(StoreError):
    """Bytes on disk are not the bytes that were committed."""


class StoreLockedError(StoreError):
    """Another writer holds the store."""


class EncoderMismatchError(StoreError):
    """An encoder or a fingerprint is not the one that made the vectors of the store."""
