"""The language of filter and goodness functions: parsed once, checked when the settings are read, bounded when it runs."""
