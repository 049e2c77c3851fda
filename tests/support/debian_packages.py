"""Makes Python modules of Debian's packages importable (libnbd's), which are outside any virtual environment."""

import sys

# Last, so that nothing of the virtual environment is hidden.
sys.path.append("/usr/lib/python3/dist-packages")
