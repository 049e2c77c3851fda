"""QoS specs: limits of volumes by their type, for the front end, the back end or both."""
