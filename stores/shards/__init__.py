"""One collection in many stores: cut into shards, copied to where it is served, searched as one.

Shards have one fitted codec, so that their scores compare: the best of all is the best of the best
of each, exactly.
"""

from attar.stores.shards.copy import local_copy as local_copy
from attar.stores.shards.group import ShardGroup as ShardGroup
from attar.stores.shards.merge import merge as merge
from attar.stores.shards.split import split as split
