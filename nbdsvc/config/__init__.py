"""Settings: the default and the comment above it are the manual. `nbdsvc show-config` prints what is in force.

Read from /etc/nbdsvc/nbdsvc.toml, then /etc/nbdsvc/conf.d/*.toml in order of their names (or `--config FILE`), then from
the environment: NBDSVC_PORT=9000 sets `port`, NBDSVC_DRIVER_OPTIONS="a = 1, b = 'x'" a table. An unknown key is an error.

One file for each kind of setting, with its fields and its checks:

    installation.py   where everything is kept, the database, names and zones of this host
    access.py         the API's address, tokens and limits of requests; the log
    storage.py        the backends (a table of one: nbdsvc/backend_settings.py)
    images.py         sources of images
    exports.py        NBD and iSCSI
    work.py           how much runs at once, how fast and how long
    choice.py         the scheduler, the default volume type
    limits.py         quotas
"""

from nbdsvc.config.choice import MOST_WEIGHT as MOST_WEIGHT
from nbdsvc.config.choice import WEIGHERS as WEIGHERS
from nbdsvc.config.loading import DEFAULT_FILE as DEFAULT_FILE
from nbdsvc.config.loading import PREFIX as PREFIX
from nbdsvc.config.loading import load as load
from nbdsvc.config.settings import Settings as Settings
