"""Who may do what: a rule for each operation of the API, in Cinder's names and the language of oslo.policy."""
