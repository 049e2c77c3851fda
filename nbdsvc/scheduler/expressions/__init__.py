"""The language of filter and goodness functions: parsed once, checked with the settings, with a limited run time."""
