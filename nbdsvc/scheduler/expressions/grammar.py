"""The grammar in the notation of lark, from the lowest precedence to the highest."""

GRAMMAR = r"""
?start: choice
?choice: either | either "?" choice ":" choice -> ternary
?either: both (_OR both)*
?both: negation (_AND negation)*
?negation: comparison | _NOT negation -> negate
?comparison: sum (COMPARE sum)*
?sum: product (SIGN product)*
?product: signed (FACTOR signed)*
?signed: power | SIGN signed -> sign
?power: atom | atom "^" signed -> raised
?atom: NUMBER -> number
     | STRING -> text
     | NAME -> name
     | FUNCTION "(" choice ("," choice)* ")" -> call
     | "(" choice ")" -> group

_OR: /(or|OR)\b|\|\|?/
_AND: /(and|AND)\b|&&?/
_NOT: /(not|NOT)\b|!(?!=)/
COMPARE: /<=|>=|==|!=|<>|<|>/
SIGN: /[+-]/
FACTOR: /[*\/]/
FUNCTION.2: /(abs|max|min)(?=[ \t\r\n]*\()/
NUMBER: /[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?/
STRING: /'[^'\n]*'|"[^"\n]*"/
NAME.1: /[A-Za-z_][A-Za-z_0-9]*\.[A-Za-z_][A-Za-z_0-9]*/
%ignore /[ \t\r\n]+/
"""
