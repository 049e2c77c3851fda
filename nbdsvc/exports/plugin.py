"""The plugin's path before it moved to nbd/plugin.py.

The shell that keeps a server which was started before the move restarts its nbdkit by this path after a crash
(nbd/keep.sh). Without this file, such a server would be down until the next repair of exports.
"""

from nbdsvc.exports.nbd.plugin import *  # noqa: F403
