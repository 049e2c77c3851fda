"""Reads a policy file: YAML or JSON, name -> rule, in oslo.policy's form. Loaded only where a file is set."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from nbdsvc import errors
from nbdsvc.policy.defaults import DEFAULTS
from nbdsvc.policy.language import BadRule, references_of
from nbdsvc.policy.policy import Policy

# Bytes: the whole of Cinder's sample file has 60 KiB.
_MOST = 1 << 20


def load(path: Path) -> Policy:
    """The policy with the file's rules. ConfigError has the line and the rule's name of the first fault."""
    found = _entries(path)
    texts = {name: text for name, (text, _) in found.items()}
    try:
        _check_names(texts)
        return Policy(texts)
    except BadRule as error:
        where = f"line {found[error.name][1]}: " if error.name in found else ""
        raise _wrong(path, f"{where}{error.name}: {error}") from None


def _check_names(texts: dict[str, str]) -> None:
    """A name that is no rule of ours must serve one: else it is a slip of the pen that would protect nothing."""
    used = {other for name, text in texts.items() for other in references_of(name, text)}
    for name in texts:
        if name not in DEFAULTS and name not in used:
            raise BadRule(name, "no operation has this rule, and no rule of this file refers to it")


def _entries(path: Path) -> dict[str, tuple[str, int]]:
    """Name -> text, line. Raises ConfigError."""
    found: dict[str, tuple[str, int]] = {}
    for name, text, line in _nodes(path):
        if name in found:
            raise _wrong(path, f"line {line}: {name}: the rule stands already in line {found[name][1]}")
        found[name] = text, line
    return found


def _nodes(path: Path) -> Iterator[tuple[str, str, int]]:
    try:
        root = yaml.compose(_text(path), yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise _wrong(path, f"{line}{error.problem or 'it is not YAML'}") from None
    except (yaml.YAMLError, RecursionError):
        raise _wrong(path, "it is not YAML") from None
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        raise _wrong(path, "must be a mapping of names to rules")
    for key, value in root.value:
        line = key.start_mark.line + 1
        name = str(key.value)[:255]
        if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.ScalarNode):
            raise _wrong(path, f"line {line}: {name}: a rule must be one text")
        yield name, str(value.value), line


def _text(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o022:
            raise _wrong(path, "must not be writable by others (chmod go-w)")
        with path.open("rb") as file:
            content = file.read(_MOST + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(path, type(error).__name__) from None
    if len(content) > _MOST:
        raise _wrong(path, f"is larger than {_MOST} bytes")
    # JSON's text has no tab inside a string, and YAML allows none between words.
    return text.replace("\t", " ") if text.lstrip().startswith("{") else text


def _wrong(path: Path, reason: str) -> errors.ConfigError:
    return errors.ConfigError(setting="policy_file", reason=f"{path}: {reason}")
