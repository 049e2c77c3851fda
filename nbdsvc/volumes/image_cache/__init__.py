"""The image cache: volumes of no project, of which volumes of the same image are cloned in place of a copy."""
