"""Values that clients send: booleans, numbers and pairs in a query string, text that a database can store."""

import ast
from typing import Any

from nbdsvc import errors

# The largest number of an INTEGER column; a larger one would cause an error of the database.
MAX_INTEGER = 0x7FFFFFFF
_BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on", "t", "y"), True),
    **dict.fromkeys(("false", "0", "no", "off", "f", "n", ""), False),
}


def is_boolean(value: str) -> bool:
    """Whether `boolean` takes the text."""
    return value.strip().lower() in _BOOLEANS


def boolean(name: str, value: Any) -> bool:
    """The boolean in the text, in upper or lower case. Raises InvalidInput for the field `name`."""
    try:
        return _BOOLEANS[str(value).strip().lower()]
    except KeyError:
        raise errors.InvalidInput(field=name, value=str(value)[:80], reason="must be true or false") from None


def whole_number(name: str, text: str) -> int:
    """The number in the text, 0 to MAX_INTEGER. Raises InvalidInput for the field `name`."""
    # Ten digits suffice for MAX_INTEGER; for thousands of digits, int() would raise another error.
    if not (text.isascii() and text.isdigit()) or len(text.lstrip("0")) > 10 or int(text) > MAX_INTEGER:
        raise errors.InvalidInput(
            field=name, value=text[:80], reason=f"must be a whole number, 0 or more, at most {MAX_INTEGER}"
        )
    return int(text)


def pairs(name: str, text: str) -> dict[str, str]:
    """{'key': 'value'} as clients put it into a query, in Python's or JSON's spelling. Raises InvalidInput."""
    try:
        found = {str(key): str(value) for key, value in ast.literal_eval(text).items()}
    except (ValueError, SyntaxError, AttributeError, TypeError, MemoryError, RecursionError):
        raise errors.InvalidInput(field=name, value=text[:80], reason="must be an object of strings") from None
    check_text(found, name)
    return found


def check_text(found: Any, field: str = "body") -> None:
    """Raise InvalidInput for text that a database cannot store: NUL or a lone surrogate, in any key or value.

    The walk does not recurse, because the client chooses the depth of the value.
    """
    waiting = [(field, found)]
    while waiting:
        where, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(where, key) for key in value] + [(_below(where, key), each) for key, each in value.items()]
        elif isinstance(value, list):
            waiting += [(where, each) for each in value]
        elif isinstance(value, str):
            _check_characters(where, value)


def _below(where: str, key: str) -> str:
    """The path of a value in a body, for error messages, shortened if it is long."""
    return (key if where == "body" else f"{where}.{key}")[:80].encode(errors="replace").decode()


def _check_characters(where: str, text: str) -> None:
    if "\0" in text:
        raise errors.InvalidInput(field=where, value=None, reason="it has the character NUL in it")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise errors.InvalidInput(field=where, value=None, reason="it has half of a surrogate pair in it")
