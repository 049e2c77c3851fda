"""The plugin's path before it moved to nbd/plugin.py.

The keeping shell of a live server from before the move starts its nbdkit by this path, again after a crash (nbd/keep.sh).
Without this file such a server would not come back until the next repair of exports.
"""

from nbdsvc.exports.nbd.plugin import *  # noqa: F403
